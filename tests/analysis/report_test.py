"""The report: what it must show, what it must survive, and what it must never let through."""

import json
import re
import struct

import numpy as np
import pytest

from rdd_jax.analysis import report
from rdd_jax.core import io

TEACHER = {"name": "resnet20", "accuracy": 98.0, "parameters": 270_000, "multiply_adds": 40_000_000}
STUDENT = {"name": "resnet8", "accuracy": 93.1, "best_accuracy": 94.25, "parameters": 90_000, "multiply_adds": None}


def _metrics(epochs):
    for epoch in range(1, epochs + 1):
        shared = {"step": 10 * epoch, "epoch": epoch, "accuracy": 90 + epoch / 10, "seconds": 1.5 * epoch}
        terms = {"ce/loss": 1 / epoch, "rdd/loss": 9.0, "rdd/positive_score": 1.25}
        rates = {"learning_rate": 0.05, "images_per_second": 1234.5}
        yield {**shared, "split": "train", "loss": 9 + 1 / epoch, **terms, **rates}
        yield {**shared, "split": "test", "loss": 0.5}


def _histograms(minings, name="rdd/confusion"):
    rng = np.random.default_rng(0)
    for i in range(minings):
        counts, edges = np.histogram(2 + rng.gamma(4, 0.05, size=200), bins=20)
        line = {"step": 10 * i, "epoch": i, "name": name, "mean": 2.2}
        yield {**line, "edges": edges.tolist(), "counts": counts.tolist()}


def _write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def workdir(tmp_path):
    """A small finished run; the tests bend single files of it."""
    methods = {"rdd": {"weight": 0.8, "gamma": 0.1}, "crd": {"weight": 0.0, "idle_option": 1}}
    config = {"dataset": {"name": "digits", "sizes": [8, 8]}, "distill": methods}
    summary = {"method": "rdd", "dataset": "digits", "seed": 3, "epochs": 12, "steps": 1170, "wall_seconds": 3725.0}
    summary |= {"teacher": TEACHER, "student": STUDENT, "versions": {"jax": "0.7.1"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    _write_lines(tmp_path / "metrics.jsonl", _metrics(12))
    _write_lines(tmp_path / "histograms.jsonl", _histograms(3))
    return tmp_path


def _update(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _png_size(path):
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", header[16:])


def _prose(path):
    """The page's text, without tags, styles and pictures."""
    body = path.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_writes_the_page_and_its_figures_and_nothing_else(workdir):
    before = {path.name for path in workdir.iterdir()}
    assert report.write(str(workdir)) == workdir / "report.html"
    assert {path.name for path in workdir.iterdir()} == before | {"report.html", "figures"}
    assert {path.name for path in (workdir / "figures").iterdir()} == {"curves.png", "confusion.png"}
    for path in (workdir / "figures").iterdir():
        width, height = _png_size(path)
        assert 1000 <= width <= 2000
        assert 300 <= height <= 2000


def test_page_shows_the_numbers(workdir):
    text = _prose(report.write(workdir))
    for label, value in {
        "Student accuracy": "93.10 %",
        "Best accuracy": "94.25 %",
        "Teacher accuracy": "98.00 %",
        "Accuracy retained": "95.00 %",
        "Fewer parameters": "3.0×",
        "Wall time": "1:02:05",
    }.items():
        assert f"{label} {value}" in text
    assert "Fewer multiply-adds" not in text  # the student's are not known
    assert "Teacher resnet20 98.00 % 270,000 40,000,000" in text
    assert "Student resnet8 93.10 % 90,000 –" in text
    assert "12 9.083 0.5000 91.20 % 91.20 % 0.08333 9.000 1.250 0.05000 1,234" in text
    assert "jax 0.7.1" in text


def test_page_shows_top5_accuracy_where_it_was_measured(workdir):
    assert "op-5" not in _prose(report.write(workdir))
    lines = [line | ({"top5_accuracy": 99.5} if line["split"] == "test" else {}) for line in _metrics(12)]
    _write_lines(workdir / "metrics.jsonl", lines)
    _update(
        workdir / "summary.json",
        student={**STUDENT, "top5_accuracy": 99.5},
        teacher={**TEACHER, "top5_accuracy": 99.75},
    )
    text = _prose(report.write(workdir))
    assert "Name Test accuracy Top-5 accuracy Parameters" in text
    assert "Teacher resnet20 98.00 % 99.75 % 270,000" in text
    assert "Student resnet8 93.10 % 99.50 % 90,000" in text
    assert "12 9.083 0.5000 91.20 % 91.20 % 99.50 % 0.08333" in text


BINS = {"counts": [0, 10, 30], "confidences": [None, 0.5, 0.9], "accuracies": [None, 0.4, float("nan")]}


@pytest.mark.parametrize("with_teacher", [True, False])
def test_page_shows_the_calibration_where_it_was_measured(workdir, with_teacher):
    text = _prose(report.write(workdir))
    assert not [word for word in ("NLL", "ECE", "AURC", "bins") if word in text]
    calibration = {"nll": 0.1234, "ece": 0.0215, "aurc": 0.005}
    teacher = {**TEACHER, **calibration, "ece": 0.5} if with_teacher else None
    _update(workdir / "summary.json", student={**STUDENT, **calibration}, teacher=teacher)
    (workdir / "reliability.json").write_text(json.dumps({"step": 1170, "epoch": 12, **BINS}))
    if with_teacher:
        (workdir / "teacher.json").write_text(json.dumps({"name": "resnet20", "reliability": BINS}))
    text = _prose(report.write(workdir))
    assert "Student resnet8 93.10 % 0.1234 2.15 % 0.50 % 90,000" in text
    assert ("Teacher resnet20 98.00 % 0.1234 50.00 % 0.50 % 270,000" in text) == with_teacher
    assert "in each of 3 bins of confidence" in text
    assert _png_size(workdir / "figures" / "reliability.png")[1] < 1000


def test_table_holds_the_last_ten_epochs(workdir):
    rows = re.findall(r"<tr>\s*<td>(\d+)</td>", report.write(workdir).read_text())
    assert rows == [str(epoch) for epoch in range(3, 13)]


def test_config_is_flat_and_without_idle_methods(workdir):
    text = _prose(report.write(workdir))
    assert "dataset.name digits dataset.sizes [8, 8] distill.rdd.weight 0.8 distill.rdd.gamma 0.1" in text
    assert "crd" not in text


def test_page_is_self_contained(workdir):
    page = report.write(workdir).read_text()
    references = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'> )]*)", page)
    assert len(references) == 2
    assert all(reference.startswith("data:image/png;base64,") for reference in references)
    assert "<script" not in page
    assert "@import" not in page


def test_everything_is_escaped(workdir):
    hostile = "</style><script>alert('$x^')</script>"
    _update(workdir / "config.json", **{hostile: hostile})
    student = {**STUDENT, "name": hostile}
    _update(workdir / "summary.json", method=hostile, dataset=hostile, student=student, versions={hostile: hostile})
    lines = [{**line, f"{hostile}/loss": 1.0} for line in _metrics(2)]
    _write_lines(workdir / "metrics.jsonl", lines)
    _write_lines(workdir / "histograms.jsonl", _histograms(2, name=f"../../{hostile}"))
    page = report.write(workdir).read_text()
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "&lt;script&gt;" in page
    assert len(list((workdir / "figures").iterdir())) == 2


def test_run_without_a_teacher(workdir):
    _update(workdir / "summary.json", teacher=None)
    text = _prose(report.write(workdir))
    assert "Accuracy retained" not in text
    assert "Fewer" not in text


@pytest.mark.parametrize("epochs", [0, 1])
def test_hardly_any_epochs(workdir, epochs):
    _write_lines(workdir / "metrics.jsonl", _metrics(epochs))
    rows = re.findall(r"<tr>\s*<td>(\d+)</td>", report.write(workdir).read_text())
    assert rows == [str(epoch) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("value", [float("nan"), None])
def test_losses_that_are_no_numbers(workdir, value):
    _write_lines(workdir / "metrics.jsonl", [{**line, "loss": value, "ce/loss": value} for line in _metrics(3)])
    shown = "–" if value is None else str(value)
    assert f"3 {shown} {shown} 90.30 % 90.30 % {shown}" in _prose(report.write(workdir))


@pytest.mark.parametrize("minings", [1, 70])
def test_histograms_of_any_number(workdir, minings):
    _write_lines(workdir / "histograms.jsonl", _histograms(minings))
    report.write(workdir)
    assert _png_size(workdir / "figures" / "confusion.png")[1] < 1500


def test_one_figure_for_each_histogram_name(workdir):
    names = ("rdd/confusion", "other/confusion", "rdd/curves")
    _write_lines(workdir / "histograms.jsonl", [line for name in names for line in _histograms(2, name)])
    report.write(workdir)
    expected = {"curves.png", "confusion.png", "other_confusion.png", "rdd_curves.png"}
    assert {path.name for path in (workdir / "figures").iterdir()} == expected


def test_histograms_absent_or_not_drawable(workdir):
    point, damaged = _histograms(2)
    _write_lines(workdir / "histograms.jsonl", [point | {"edges": [2.0] * 21}, damaged | {"edges": [np.nan] * 21}])
    report.write(workdir)
    (workdir / "histograms.jsonl").unlink()
    report.write(workdir)
    assert {path.name for path in (workdir / "figures").iterdir()} == {"curves.png"}


@pytest.mark.parametrize(("name", "content"), [("summary.json", None), ("summary.json", "{"), ("config.json", "[]")])
def test_missing_or_damaged_objects(workdir, name, content):
    (workdir / name).unlink() if content is None else (workdir / name).write_text(content)
    with pytest.raises(ValueError, match=name) as error:
        report.write(workdir)
    assert "\n" not in str(error.value)
    assert not (workdir / "report.html").exists()


@pytest.mark.parametrize("tail", [b'{"name": "\xc3', b"12", b"\x00\x00"])
def test_half_a_last_line_is_ignored(workdir, tail):
    path = workdir / "metrics.jsonl"
    whole = io.read_json_lines(path)
    path.write_bytes(path.read_bytes() + tail)
    assert io.read_json_lines(path) == whole == list(_metrics(12))


def test_report_of_a_run_that_crashed_while_writing(workdir):
    for name in ("metrics.jsonl", "histograms.jsonl"):
        with (workdir / name).open("a") as file:
            file.write('{"step": 120, "spl')
    assert "12 9.083 0.5000" in _prose(report.write(workdir))


def test_read_lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert io.read_json_lines(path) == []
    path.write_text("")
    assert io.read_json_lines(str(path)) == []
    path.write_text('{"a": 1}\n\n{"a": "\u2028"}')
    assert io.read_json_lines(path) == [{"a": 1}, {"a": "\u2028"}]
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(ValueError, match=r"lines\.jsonl, line 2: "):
        io.read_json_lines(path)
