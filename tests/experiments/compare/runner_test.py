"""The training of a grid: shards, teachers, and runs that diverge."""

import math

from experiments.compare import grid, runner
from rdd_jax.core import io
from rdd_jax.core.errors import TrainingDiverged


def plan(folder, rows, overrides=()):
    return grid.plan(rows, (0,), preset="digits", overrides=overrides, folder=folder)


def test_every_shard_trains_the_teachers_of_the_whole_grid_first(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(runner, "train_shared", lambda config, workdir, progress: trained.append(workdir.name))
    monkeypatch.setattr(runner, "train", lambda config, workdir, progress: trained.append(workdir.name))
    for shard, own in ((1, "ce-digits-seed0"), (2, "kd-digits-seed0")):
        trained.clear()
        runner.run(plan(tmp_path, grid.product(["ce", "kd"], {})), (shard, 2))
        assert trained == ["teacher-digits-resnet20-seed0", own]
    trained.clear()
    runner.run(plan(tmp_path, grid.product(["ce"], {})))
    assert trained == ["ce-digits-seed0"]  # Cross-entropy alone needs no teacher.


def test_a_run_that_diverges_is_not_tried_again_and_has_no_accuracy(tmp_path, monkeypatch, capsys):
    def diverge(config, workdir, progress):
        assert not (workdir / "diverged.json").exists()
        raise TrainingDiverged("loss or weights are not finite")

    monkeypatch.setattr(runner, "train", diverge)
    points = plan(tmp_path, grid.product(["ce"], {"learning_rate": ["1e30", "0.05"]}))
    runner.run(points[:1])
    assert "learning_rate=1e30-seed0: loss or weights are not finite" in capsys.readouterr().err
    runner.run(points[:1])
    (run,) = runner.collect(points)
    assert math.isnan(run["summary"]["student"]["accuracy"])
    assert (run["label"], run["epochs"], run["student_metrics"]) == (points[0].label, [], {})


def test_collects_curves_and_minings_from_the_files_of_a_run(tmp_path, monkeypatch):
    point = plan(tmp_path, grid.product(["rdd"], {}))[0]
    summary = {"student": {"name": "resnet8", "accuracy": 90.0}, "teacher": None}
    monkeypatch.setattr(runner.records, "is_finished", lambda workdir: True)
    monkeypatch.setattr(runner.records, "read_summary", lambda workdir: summary)
    point.workdir.mkdir()
    for epoch in (1, 2):
        line = {"step": epoch, "epoch": epoch}
        io.append_json_line(
            point.workdir / "metrics.jsonl", line | {"split": "train", "mine_seconds": 2.0, "embed_seconds": 1.0}
        )
        io.append_json_line(point.workdir / "metrics.jsonl", line | {"split": "test", "accuracy": 40.0 * epoch})
        io.append_json_line(point.workdir / "histograms.jsonl", line | {"name": "rdd/confusion"})
    assert runner.collect([point]) == [
        {
            "label": "rdd",
            "seed": 0,
            "summary": summary,
            "epochs": [1, 2],
            "test_accuracy": [40.0, 80.0],
            "minings": 2,
            "mining_seconds": 6.0,
            "student_metrics": {},
        }
    ]
