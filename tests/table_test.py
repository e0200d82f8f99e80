"""The table over seeds: what is averaged, and what is left out."""

import json

import pytest

from experiments import table


def summary(method, seed, accuracy, best, teacher=True):
    return {
        "method": method,
        "dataset": "digits",
        "seed": seed,
        "epochs": 30,
        "wall_seconds": 90.0,
        "teacher": {"name": "resnet20", "accuracy": 99.0} if teacher else None,
        "student": {"name": "resnet8", "accuracy": accuracy, "best_accuracy": best},
    }


def test_rows_are_means_and_sample_deviations_over_seeds():
    summaries = [summary("kd", 0, 97.0, 98.0), summary("rdd", 0, 96.0, 96.0), summary("kd", 1, 99.0, 99.0)]
    header, rule, kd, rdd = table.table(summaries).splitlines()
    assert header.count("|") == rule.count("|") == kd.count("|") == rdd.count("|")
    assert kd == "| digits | kd | resnet8 | 30 | 2 | 98.00 ± 1.41 | 98.50 ± 0.71 | 1.5 |"
    assert rdd == "| digits | rdd | resnet8 | 30 | 1 | 96.00 | 96.00 | 1.5 |"


def test_runs_of_one_seed_are_no_spread():
    with pytest.raises(ValueError, match="same seed"):
        table.table([summary("kd", 0, 97.0, 98.0), summary("kd", 0, 99.0, 99.0)])


def test_teachers_and_unfinished_runs_are_left_out(tmp_path):
    runs = {"kd": summary("kd", 0, 97.0, 98.0), "teacher": summary("ce", 0, 99.0, 99.0, teacher=False)}
    for name, content in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
    (tmp_path / "unfinished").mkdir()
    assert table.load(tmp_path) == [runs["kd"]]


def test_saved_summaries_give_the_same_table(tmp_path):
    summaries = [summary("kd", 0, 97.0, 98.0), summary("kd", 1, 99.0, 99.0)]
    (tmp_path / "digits.json").write_text(json.dumps(summaries))
    assert table.table(table.load(tmp_path / "digits.json")) == table.table(summaries)
