"""What is said of a table's age: by hand-made tables, and on a short run with all its checkpoints."""

import json
import sys

import numpy as np
import pytest

from experiments import staleness
from rdd_jax import main
from rdd_jax.rdx import ContrastTable


def table(negatives, confusion):
    return ContrastTable(np.zeros(len(negatives), int), np.array(negatives), np.array(confusion))


def test_overlap_is_of_sets_and_image_by_image():
    used = table([[1, 2], [0, 2], [0, 1]], [1.0, 2.0, 3.0])
    fresh = table([[2, 1], [2, 3], [4, 5]], [3.0, 2.0, 1.0])
    found = staleness.compare_tables(used, fresh)
    assert found["overlap"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["confusion_correlation"] == pytest.approx(-1)


def run_of(kind, seed, overlap, mined, accuracy):
    seconds = {"drift": 1.0, "embed": 2.0, "mine": 3.0}
    return {
        "kind": kind,
        "seed": seed,
        "epochs": [2, 3],
        "overlap": overlap,
        "mined_before": mined,
        "seconds": seconds,
    } | {
        "accuracy": accuracy,
        "best_accuracy": accuracy + 1,
    }


def test_a_row_is_the_mean_over_seeds_with_its_deviation():
    runs = [run_of("once", 0, [0.5, 0.3], [2], 50.0), run_of("once", 1, [0.7, 0.5], [2], 52.0)]
    runs.append(run_of("every", 0, [0.9, 0.9], [2, 3], 51.0))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in staleness.table(runs).splitlines()]
    assert rows[2] == ["`once`", "2", "50 ± 14 %", "30 %", "1.0 ± 0.0", "6 ± 0", "51.00 ± 1.41", "52.00 ± 1.41"]
    assert rows[3] == ["`every`", "1", "90 %", "90 %", "2.0", "6", "51.00", "52.00"]
    assert staleness.picture(runs).startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.stress
def test_a_run_that_mines_every_epoch_has_fresher_negatives_than_one_that_mined_once(tmp_path, monkeypatch, capsys):
    teacher = ["--config.teacher.epochs=1", "--config.student.name=resnet8", "--config.teacher.name=resnet8"]
    monkeypatch.chdir(tmp_path)
    root = str(staleness.Path(staleness.__file__).parent.parent)
    common = [f"--config={root}/configs/rdd.py", "--config.epochs=4", "--config.keep_all_checkpoints=True", *teacher]
    for kind in ("once", "every"):
        flags = [f"--workdir=runs/{kind}", f"--config.mining.kind={kind}", "--config.mining.epochs=1"]
        assert main.main(["rdd_jax", *common, *flags]) == 0
    monkeypatch.setattr(sys, "argv", ["staleness", "runs/once", "runs/every", "--out=out"])
    assert staleness.main() == 0
    once, every = json.loads((tmp_path / "out" / "staleness.json").read_text())
    assert (once["epochs"], once["mined_before"], every["mined_before"]) == ([2, 3, 4], [2], [2, 3, 4])
    assert once["overlap"][0] == every["overlap"][0]  # The same run so far.
    assert once["overlap"][2] < every["overlap"][2] <= 1
    monkeypatch.setattr(sys, "argv", ["staleness", "runs/teacher-digits-resnet8-seed0", "--out=other"])
    assert staleness.main() == 2
    assert "has mined nothing" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
