"""The progress bar's line at the widths of terminals, and its widget in a notebook."""

import importlib.util
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
from tqdm import notebook

from rdd_jax.core import progress
from rdd_jax.core.progress import ImageBar, format_line, image_progress

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


class Widget(SimpleNamespace):
    """As much of the widgets of ipywidgets as tqdm uses."""

    def __init__(self, **values):
        super().__init__(
            **{"value": 0, "bar_style": "", "layout": SimpleNamespace(), "style": SimpleNamespace()} | values
        )


@pytest.fixture
def displayed(monkeypatch):
    """The widgets that a notebook displays."""
    widgets = []
    for name in ("IProgress", "HTML", "TqdmHBox"):
        monkeypatch.setattr(notebook, name, Widget, raising=False)
    monkeypatch.setattr(notebook, "display", widgets.append, raising=False)
    return widgets


@pytest.fixture
def notebook_progress(displayed, monkeypatch):
    """The module as it is imported in a notebook."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", notebook)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    spec = importlib.util.spec_from_file_location("notebook_progress", progress.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(widget):
    """The texts on both sides of a widget's bar."""
    left, _, right = (child.value for child in widget.children)
    return left.replace("\u2007", " "), right.replace("\u2007", " ")


def test_in_a_notebook_a_run_is_a_widget(notebook_progress, displayed, capsys):
    with notebook_progress.Progress("rdd", total_images=1000, done_images=100) as bar:
        bar.set_status("compiling")
        (widget,) = displayed
        assert texts(widget)[0] == "rdd compiling:  10%"
        time.sleep(0.25)
        bar.show_metrics("1/2", loss=1.5, accuracy=33.3)
        bar.advance(400)
        assert widget.children[1].value == 500
        left, right = texts(widget)
        assert left == "rdd 1/2:  50%"
        assert " left, accuracy 33.3%, loss 1.500, " in right
        bar.advance(500)
    assert widget.children[1].bar_style == "success"
    assert capsys.readouterr().err == ""


def test_in_a_notebook_a_long_loop_is_a_widget_that_goes(notebook_progress, displayed, monkeypatch):
    monkeypatch.setattr(notebook_progress, "_DELAY_SECONDS", 0.05)
    with notebook_progress.image_progress("evaluating") as on_batch:
        on_batch(500, 1200)
        assert displayed == []
        time.sleep(0.2)
        on_batch(1200, 1200)
        (widget,) = displayed
        assert widget.children[1].max == 1200
        assert texts(widget)[0] == "evaluating: 100%"
    assert widget.layout.visibility == "hidden"


@pytest.mark.parametrize(("modules", "seconds"), [({"ipykernel": ModuleType("ipykernel")}, 0.2), ({}, 10.0)])
def test_a_notebook_without_widgets_is_drawn_as_often_as_a_terminal(capsys, monkeypatch, modules, seconds):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with ImageBar(10) as bar:
        assert bar.mininterval == seconds
    assert "starting:   0%|" in capsys.readouterr().err
