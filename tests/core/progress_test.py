"""The progress bar's line at the widths of terminals."""

import time

import pytest

from rdd_jax.core import progress
from rdd_jax.core.progress import format_line, image_progress

METER = {"n": 18_000, "total": 44_800, "rate": 139.6, "elapsed": 120.0, "initial": 0, "ascii": False}
EXTRAS = ("accuracy 19.5%", "loss 4.987")


@pytest.mark.parametrize(
    ("columns", "extras"),
    [(40, 0), (60, 1), (75, 2), (80, 3), (110, 3)],
)
def test_the_remaining_time_is_always_shown_beside_a_bar_of_ten_columns(columns, extras):
    line = format_line("rdd 12/30", EXTRAS, METER, columns)
    assert len(line) == columns
    before, bar, behind = line.split("|")
    assert before == "rdd 12/30:  40%"
    assert len(bar) >= 10
    assert behind == ", ".join([" 03:11 left", *(*EXTRAS, "140 images/s")[:extras]])


@pytest.mark.parametrize("columns", [80, 110])
def test_a_long_label_is_cut_before_the_remaining_time(columns):
    line = format_line(
        "[12/240] rdd+kd+crd-curriculum embedding by the teacher 1,250,000/1,281,167 " * 2, (), METER, columns
    )
    assert len(line) == columns
    assert "…:  40%|" in line
    assert "| 03:11 left" in line


def test_before_the_first_image_the_remaining_time_is_unknown():
    assert "  0%|" in format_line("rdd", (), METER | {"n": 0, "rate": None, "elapsed": 0.0}, 80)
    assert format_line("rdd", (), METER | {"n": 0, "rate": None, "elapsed": 0.0}, 80).endswith("| ? left")
    assert format_line("rdd", (), METER | {"n": 0, "total": 0, "rate": None}, 80).startswith("rdd: 100%|")


@pytest.mark.parametrize(("delay", "shown"), [(0.0, True), (60.0, False)])
def test_only_long_loops_show_a_bar(capsys, monkeypatch, delay, shown):
    monkeypatch.setattr(progress, "_DELAY_SECONDS", delay)
    with image_progress("evaluating") as on_batch:
        on_batch(500, 1200)
        time.sleep(0.2)
        on_batch(1000, 1200)
    assert ("evaluating:  83%" in capsys.readouterr().err) == shown
