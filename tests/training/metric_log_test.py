"""The record of a run: lines that are not its own, room on the disk, and what a summary makes of it."""

import shutil
from types import SimpleNamespace

import pytest

from rdd_jax.core.errors import UserError
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.summary import skipped_updates

LINE = '{"step": 5, "epoch": 1, "split": "test", "accuracy": 50.0, "seconds": 1.0, "compile_seconds": 0.0}\n'


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("metrics.jsonl", '{"step": 5}\n', "has a line without compile_seconds"),
        ("metrics.jsonl", "garbage\n" + LINE, "line 1: not a JSON object"),
        ("histograms.jsonl", "{}\n", "has a line without step"),
    ],
)
def test_a_line_of_something_else_is_named(tmp_path, name, line, words):
    (tmp_path / name).write_text(line)
    with pytest.raises(UserError, match=words):
        MetricLog(tmp_path, 5)


def test_a_file_in_the_place_of_the_events_is_named(tmp_path):
    (tmp_path / "events").touch()
    with pytest.raises(UserError, match="events: Not a directory"):
        MetricLog(tmp_path, 0)


def test_nothing_is_written_where_there_is_no_room(tmp_path, monkeypatch):
    with MetricLog(tmp_path, 0) as log:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match="free some space"):
            log.write_scalars(5, 1, "train", {"loss": 1.0})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_last_test_is_no_line_of_the_training(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINE + LINE.replace("test", "train").replace("50.0", "90.0"))
    with MetricLog(tmp_path, 5) as log:
        assert log.last_test_line()["accuracy"] == 50.0


def test_skipped_updates_are_counted_over_the_epochs():
    lines = [
        {"step": step, "split": split, "skipped_percent": share}
        for step, share in ((5, 0.0), (10, 40.0), (14, 100.0))
        for split in ("train", "test")
    ]
    assert skipped_updates(lines) == 0 + 2 + 4
