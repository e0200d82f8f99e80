"""The report's files, and what it must not hide."""

import math

import pytest
from comparisons import COMPLETE, make_results, make_run

from experiments.compare import notes, report, tables


def test_the_files_hold_tables_verdicts_and_the_figure(tmp_path):
    page = report.write(tmp_path / "new" / "folder", COMPLETE, {"kd": {1: 90.0, 12: 96.0}, "sp": {12: 95.0}})
    assert {path.name for path in page.parent.iterdir()} == {"report.md", "report.html", "accuracies.png"}
    assert (page.parent / "accuracies.png").read_bytes().startswith(b"\x89PNG")
    text, html = (page.parent / "report.md").read_text(), page.read_text()
    for part in (tables.accuracy_table(COMPLETE), tables.cost_table(COMPLETE), notes.conditions(COMPLETE)):
        assert part in text
    for verdict in report.verdicts(COMPLETE):
        assert verdict in text
    for part in ("<td>94.00 ± 1.00</td>", "rdd is better than kd by 1.10 points", "data:image/png;base64,"):
        assert part in html
    assert "Missing" not in text + html


def test_missing_runs_are_named():
    finished = [run for run in COMPLETE["runs"] if (run["label"], run["seed"]) not in {("ce", 2), ("kd", 0)}]
    results = COMPLETE | {"runs": finished, "labels": [*COMPLETE["labels"], "crd"]}
    expected = (
        "5 of the 12 runs are not finished and not in the tables: ce at seed 2; kd at seed 0; crd at seeds 0, 1, 2."
    )
    assert report.missing(results) == expected
    assert report.markdown(results).rstrip().endswith(expected)


def test_labels_and_commands_are_escaped(tmp_path):
    hostile = "<b>kd|$x^"
    runs = (make_run(hostile, 0, 96.0), make_run("ce", 0, 95.0))
    results = make_results(*runs, labels=(hostile, "ce", "<i>"), baseline=hostile) | {"command": "</pre><script>"}
    page = report.write(tmp_path, results).read_text()
    assert not [tag for tag in ("<b>", "<i>", "<script") if tag in page]
    assert r"| &lt;b>kd\|$x^ |" in report.markdown(results)
    assert "<i>" not in report.markdown(results)


@pytest.mark.parametrize(
    ("labels", "seeds", "epochs"),
    [([f"rdd distill.rdd.gamma={i}" for i in range(23)], 2, 12), (["kd"], 1, 1)],
    ids=["more labels than colours and lines", "one of everything"],
)
def test_grids_of_any_size_are_drawn(tmp_path, labels, seeds, epochs):
    runs = [make_run(label, seed, 80.0, epochs=epochs) for label in labels for seed in range(seeds)]
    report.write(tmp_path, make_results(*runs, labels=labels, seeds=seeds, baseline=labels[0]))
    assert (tmp_path / "accuracies.png").exists()


def test_a_comparison_without_finished_runs_has_no_figure(tmp_path):
    page = report.write(tmp_path, make_results())
    assert "No run is finished of ce, kd, rdd at seeds 0, 1, 2" in page.read_text()
    assert not (tmp_path / "accuracies.png").exists()


@pytest.mark.parametrize("baseline", [96.0, math.nan])
def test_diverged_runs_have_no_accuracy(tmp_path, baseline):
    results = make_results(make_run("kd", 0, baseline), make_run("ce", 0, math.nan), labels=("kd", "ce"), seeds=1)
    report.write(tmp_path, results)
    assert tables.accuracy_rows(results)[1]["last epoch"] == "–"
