"""The plan of a grid: its runs, their workdirs, and mistakes that are found before anything is written."""

import pytest

from experiments import ablate
from experiments.compare import grid
from rdd_jax.core.errors import UserError
from rdd_jax.runs.config import differences


def plan(folder, rows, seeds=(0,), overrides=()):
    return grid.plan(rows, seeds, preset="digits", overrides=overrides, folder=folder)


def test_every_method_is_combined_with_every_value_of_the_axes():
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
    assert [(point.seed, point.config.seed) for point in points] == [(0, 0), (0, 0), (1, 1), (1, 1)]
    assert {point.config.epochs for point in points} == {7}
    assert [point.config.mining.kind for point in points[:2]] == ["every", "once"]
    alone = plan(tmp_path, grid.product(["rdd"], {}), overrides=["epochs=7"])[0]
    assert (alone.workdir, alone.config) == (points[0].workdir, points[0].config)


@pytest.mark.parametrize(
    ("rows", "overrides", "message"),
    [
        (grid.product(["kd", "kd"], {}), [], "two rows are the same run, kd-digits-seed0"),
        (grid.product(["kd"], {"learning_rate": ["0.05", "0.05"]}), [], "two rows are the same run"),
        (grid.product(["kd"], {"sampler.kind": ["rxd"]}), [], 'did you mean "rdx"'),
        (grid.product(["kd"], {}), ["epochs=-1"], "epochs must be above 0"),
        (grid.product(["kd"], {"seed": ["7", "8"]}), [], "seed=7: the seeds of a comparison are"),
        (grid.product(["kd"], {"teacher.epochs": ["1", "2"]}), [], "teachers that differ in epochs, and share"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, monkeypatch, rows, overrides, message):
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
        for label in ("without anchor weighting", "mined once at the start", "beta 5", "hard negatives alone")
        for key, pair in changes[f"rdd: {label}"].items()
    }
