"""The staleness of contrast tables, by tables made by hand and on a short run with all its checkpoints."""

import json
import sys

import numpy as np
import pytest
from program import ROOT

from experiments import staleness
from rdd_jax import main
from rdd_jax.rdx import ContrastTable


def table(negatives, confusion):
    return ContrastTable(np.zeros(len(negatives), int), np.array(negatives), np.array(confusion))


def test_the_overlap_is_that_of_sets_averaged_over_images():
    used = table([[1, 2], [0, 2], [0, 1]], [1.0, 2.0, 3.0])
    fresh = table([[2, 1], [2, 3], [4, 5]], [3.0, 2.0, 1.0])
    assert staleness.compare_tables(used, fresh) == pytest.approx(((1 + 0.5 + 0) / 3, -1))


def measurement(kind, seed, overlap, mined, accuracy):
    return {
        "workdir": "",
        "kind": kind,
        "seed": seed,
        "accuracy": accuracy,
        "best_accuracy": accuracy + 1,
        "epochs": [2, 3],
        "overlap": overlap,
        "confusion_correlation": [1.0, 1.0],
        "mined_before": mined,
        "seconds": {"drift": 1.0, "embed": 2.0, "mine": 3.0},
    }


def test_a_row_is_the_mean_over_seeds_with_its_deviation():
    runs = [measurement("once", 0, [0.5, 0.3], [2], 50.0), measurement("once", 1, [0.7, 0.5], [2], 52.0)]
    runs.append(measurement("every", 0, [0.9, 0.9], [2, 3], 51.0))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in staleness.table(runs).splitlines()]
    assert rows[2] == ["`once`", "2", "50 ± 14 %", "30 %", "1.0 ± 0.0", "6 ± 0", "51.00 ± 1.41", "52.00 ± 1.41"]
    assert rows[3] == ["`every`", "1", "90 %", "90 %", "2.0", "6", "51.00", "52.00"]
    assert staleness.draw(runs).startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.stress
def test_a_run_that_mines_every_epoch_has_fresher_negatives_than_one_that_mines_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = [f"--config={ROOT}/configs/rdd.py", "--config.epochs=4", "--config.keep_all_checkpoints=True"]
    common += ["--config.teacher.epochs=1", "--config.student.name=resnet8", "--config.teacher.name=resnet8"]
    for kind in ("once", "every"):
        flags = [f"--workdir=runs/{kind}", f"--config.mining.kind={kind}", "--config.mining.epochs=1"]
        assert main.main(["rdd_jax", *common, *flags]) == 0
    monkeypatch.setattr(sys, "argv", ["staleness", "runs/once", "runs/every", "--out=out"])
    assert staleness.main() == 0
    once, every = json.loads((tmp_path / "out" / "staleness.json").read_text())
    assert (once["epochs"], once["mined_before"], every["mined_before"]) == ([2, 3, 4], [2], [2, 3, 4])
    assert once["overlap"][0] == every["overlap"][0]  # The two runs are the same until the second mining.
    assert once["overlap"][2] < every["overlap"][2] <= 1
    monkeypatch.setattr(sys, "argv", ["staleness", "runs/teacher-digits-resnet8-seed0", "--out=other"])
    assert staleness.main() == 2
    assert "has mined nothing" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
