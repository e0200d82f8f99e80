"""How a grid is planned: which runs there are, what they are called, and what is refused before anything is written."""

import math

import pytest

from experiments import ablate
from experiments.compare import grid, report
from rdd_jax.core.errors import UserError
from rdd_jax.runs.config import differences


def plan(folder, rows, seeds=(0,), overrides=()):
    return grid.plan(rows, seeds, preset="digits", overrides=overrides, folder=folder)


def test_every_method_meets_every_combination_of_the_axes():
    rows = grid.product(["kd", "rdd_alone"], {"mining.kind": ["once", "every"], "temperature": ["1"]})
    assert [row.label for row in rows] == [
        "kd mining.kind=once temperature=1",
        "kd mining.kind=every temperature=1",
        "rdd_alone mining.kind=once temperature=1",
        "rdd_alone mining.kind=every temperature=1",
    ]
    assert rows[2] == grid.Row(rows[2].label, "rdd_alone", ("mining.kind=once", "temperature=1"))
    assert grid.product(["kd"], {}) == [grid.Row("kd", "kd", ())]


def test_a_workdir_names_only_what_differs_so_that_grids_share_it(tmp_path):
    rows = grid.product(["rdd"], {"mining.kind": ["every", "once"]})
    points = plan(tmp_path, rows, seeds=range(2), overrides=["epochs=7"])
    assert [point.workdir.name for point in points] == [
        "rdd-digits-seed0",
        "rdd-digits-mining.kind=once-seed0",
        "rdd-digits-seed1",
        "rdd-digits-mining.kind=once-seed1",
    ]
    assert [(point.seed, point.config.seed, point.config.epochs) for point in points] == [(0, 0, 7)] * 2 + [
        (1, 1, 7)
    ] * 2
    assert [point.config.mining.kind for point in points[:2]] == ["every", "once"]
    alone = plan(tmp_path, grid.product(["rdd"], {}), overrides=["epochs=7"])[0]
    assert (alone.workdir, alone.config) == (points[0].workdir, points[0].config)


@pytest.mark.parametrize(
    ("rows", "overrides", "message"),
    [
        (grid.product(["kd", "kd"], {}), [], "two rows are the same run, kd-digits-seed0"),
        (grid.product(["kd"], {"learning_rate": ["0.05", "0.05"]}), [], "two rows are the same run"),
        (grid.product(["dk"], {}), [], "unknown configuration"),
        (grid.product(["kd"], {"sampler.knd": ["rdx"]}), [], "knd"),
        (grid.product(["kd"], {"sampler.kind": ["rxd"]}), [], 'did you mean "rdx"'),
        (grid.product(["kd"], {}), ["epochs=-1"], "epochs must be above 0"),
        (grid.product(["kd"], {"seed": ["7", "8"]}), [], "seed=7: the seeds of a comparison are"),
        (grid.product(["kd"], {"batch_size": ["64", "128"]}), [], "teachers that differ in batch_size, and share"),
        (grid.product(["kd"], {"teacher.epochs": ["1", "2"]}), [], "teachers that differ in epochs, and share"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, monkeypatch, rows, overrides, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        plan(tmp_path / "out", rows, overrides=overrides)
    assert not (tmp_path / "out").exists()


def test_the_ablation_changes_one_thing_at_a_time_and_the_release_four(tmp_path):
    points = plan(tmp_path, ablate.rows())
    changes = {point.label: differences(points[0].config, point.config) for point in points}
    assert changes["rdd: mined once at the start"] == {"mining.kind": ("every", "once"), "mining.start_epoch": (1, 0)}
    assert changes["rdd: beta 5"] == {"distill.rdd.beta": (0.8, 5.0)}
    assert {label: len(changed) for label, changed in changes.items() if len(changed) > 1} == {
        "rdd: mined once at the start": 2,
        "rdd: as released": 5,
    }
    assert changes["rdd: as released"] == {
        key: pair
        for label in ("anchors alike", "mined once at the start", "beta 5", "hard negatives alone")
        for key, pair in changes[f"rdd: {label}"].items()
    }


def test_every_shard_trains_the_teacher_first_that_the_grid_needs_or_waits_for_it(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(grid, "train_shared", lambda config, place, show: trained.append(place))
    monkeypatch.setattr(grid, "train", lambda config, place, show: trained.append(place))
    for shard, own in ((1, "ce-digits-seed0"), (2, "kd-digits-seed0")):
        trained.clear()
        grid.run(plan(tmp_path, grid.product(["ce", "kd"], {})), (shard, 2))
        assert trained == [tmp_path / "teacher-digits-resnet20-seed0", tmp_path / own]
    trained.clear()
    grid.run(plan(tmp_path, grid.product(["ce"], {})))
    assert trained == [tmp_path / "ce-digits-seed0"]


@pytest.mark.slow
def test_a_run_that_diverges_is_left_and_counts_as_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))  # What MNIST would add takes time.
    rows = grid.product(["ce"], {"learning_rate": ["1e30", "0.05"]})
    points = plan(tmp_path / "runs", rows, overrides=["epochs=1", "batch_size=256"])
    grid.run(points)
    assert "ce-digits-learning_rate=1e30-seed0: loss or weights are not finite" in capsys.readouterr().err
    monkeypatch.delattr(grid, "train")  # Neither is tried again.
    grid.run(points)
    diverged, finished = grid.results(points)
    assert math.isnan(diverged["summary"]["student"]["accuracy"])
    assert finished["summary"]["student"]["accuracy"] > 0
    assert finished["summary"]["teacher"] is None
    assert not list(tmp_path.rglob("teacher-*"))  # Cross-entropy alone trains none.
    asked = {"preset": "digits", "command": "", "device": "cpu", "test_images": 360, "validation": 0.0}
    asked |= {"labels": [row.label for row in rows], "seeds": [0]}
    told = report.markdown({"baseline": rows[1].label, "runs": [diverged, finished], **asked})
    assert "a run has diverged at 1 seed" in told
