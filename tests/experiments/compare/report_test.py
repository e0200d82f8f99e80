"""The comparison: what its tables and sentences must say, what must be named as missing, and what must be escaped."""

import copy
import html
import re
import struct

import matplotlib
import pytest

from experiments.compare import notes, report
from experiments.compare.published import read_published

TEACHER = {"name": "resnet20", "accuracy": 98.5, "parameters": 272_474, "multiply_adds": 2.5e6}
MEASURES = {"cka": 0.9, "rank_agreement": 0.8, "neighbors_shared": 0.5, "transfer": 91.0, "transfer_dataset": "mnist"}


def run(
    label, seed, accuracy, best=None, *, epochs=12, minutes=1.0, minings=0, measures=None, teacher=TEACHER, **summarized
):
    student = {"name": "resnet8", "accuracy": accuracy, "best_accuracy": best or accuracy, "parameters": 77_754}
    summary = {"method": label, "dataset": "digits", "seed": seed, "epochs": epochs, "teacher": teacher}
    summary |= {"student": student, "wall_seconds": 60 * minutes, "compile_seconds": 15 * minutes} | summarized
    curve = [accuracy - 2 / epoch for epoch in range(1, epochs)] + [accuracy]
    lines = {"epochs": list(range(1, epochs + 1)), "test_accuracy": curve}
    mined = {"minings": minings, "mine_seconds": 0.25 * minings}
    return {"label": label, "seed": seed, "summary": summary, **lines, **mined, "measures": measures or {}}


def results(*runs, labels=("ce", "kd", "rdd"), seeds=3, preset="digits", baseline="kd"):
    shared = {"command": "python -m experiments.compare --methods=ce,kd,rdd", "preset": preset, "dataset": preset}
    shared |= {"test_images": 360, "validation": 0.0}
    asked = {"labels": list(labels), "seeds": list(range(seeds)), "baseline": baseline, "device": "1 x cpu"}
    return {**shared, **asked, "runs": list(runs)}


# Against kd: ce is 1, 2 and 3 points worse, rdd 1.0, 1.1 and 1.2 better.
COMPLETE = results(
    *(run("ce", seed, 95.0 - seed, minutes=seed + 1) for seed in range(3)),
    *(run("kd", seed, 96.0, 97.0 + seed) for seed in range(3)),
    *(run("rdd", seed, 97.0 + 0.1 * seed, minings=6, measures=MEASURES) for seed in range(3)),
)


def cells(table):
    """The rows of a Markdown table as dicts by header, by their first cell."""
    header, rule, *rows = ([cell.strip() for cell in line[1:-1].split(" | ")] for line in table.splitlines())
    assert set(rule) == {"---"}
    assert {len(row) for row in rows} == {len(header)}
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def prose(page):
    """The page's text, without tags, styles and pictures."""
    body = page.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def png_size(content):
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def test_accuracies_are_means_deviations_and_differences_by_seed():
    rows = cells(report.accuracy_table(COMPLETE))
    assert list(rows) == ["ce", "kd", "rdd", "teacher resnet20"]
    # With 2 degrees of freedom p = 1 - t / sqrt(2 + t^2): 0.0742 for ce, where t = 2 sqrt(3), and 0.0027 for rdd, where
    # t = 11 sqrt(3). Holm doubles the smaller of the two.
    assert rows["ce"] == {
        "method": "ce",
        "seeds": "3",
        "last epoch": "94.00 ± 1.00",
        "95 % interval": "91.52 to 96.48",
        "best epoch": "94.00 ± 1.00",
        "against kd": "-2.00",
        "p (Holm)": "0.074",
    }
    assert rows["rdd"]["against kd"] == "+1.10"
    assert rows["rdd"]["p (Holm)"] == "0.005"
    assert rows["kd"]["last epoch"] == "96.00 ± 0.00"
    assert rows["kd"]["best epoch"] == "98.00 ± 1.00"
    assert rows["kd"]["against kd"] == rows["kd"]["p (Holm)"] == "–"
    assert rows["teacher resnet20"]["last epoch"] == "98.50"


def test_one_seed_has_no_spread_and_no_p_value():
    table = report.accuracy_table(results(run("kd", 0, 96.0), run("ce", 0, 95.5), labels=("kd", "ce"), seeds=1))
    rows = cells(table)
    assert list(rows["kd"].values()) == ["kd", "1", "96.00", "–", "96.00", "–", "–"]
    assert list(rows["ce"].values()) == ["ce", "1", "95.50", "–", "95.50", "-0.50", "–"]


def test_teachers_of_their_own_seeds_are_averaged_and_none_is_no_row():
    taught = [run("kd", seed, 96.0, teacher=TEACHER | {"accuracy": 98.0 + seed}) for seed in range(2)]
    assert cells(report.accuracy_table(results(*taught)))["teacher resnet20"]["last epoch"] == "98.50 ± 0.71"
    alone = results(run("kd", 0, 96.0, teacher=None))
    assert list(cells(report.accuracy_table(alone))) == ["ce", "kd", "rdd"]
    assert report.markdown(alone).splitlines()[2].startswith("resnet8 (96.00 %): ce, kd, rdd;")


def test_verdicts_are_of_all_but_the_baseline():
    worse, better = report.verdicts(COMPLETE)
    assert worse.startswith("ce is not distinguishable from kd at 3 seeds (-2.00 points")
    assert better.startswith("rdd is better than kd by 1.10 points")


def test_costs_are_medians_and_measures_are_means():
    rows = cells(report.cost_table(COMPLETE))
    assert list(rows["ce"].values()) == ["ce", "2.00", "0.50", *["–"] * 6]
    assert rows["rdd"] == {
        "method": "rdd",
        "minutes a run": "1.00",
        "of them compiling": "0.25",
        "minings": "6",
        "seconds mining": "1.5",
        "CKA": "0.900 ± 0.000",
        "rank agreement": "0.800 ± 0.000",
        "neighbours shared": "0.500 ± 0.000",
        "transfer to mnist": "91.00 ± 0.00",
    }


def test_what_no_run_has_measured_is_no_column():
    header = report.cost_table(results(run("kd", 0, 96.0, measures={"cka": 0.75}))).splitlines()[0]
    assert header == "| method | minutes a run | of them compiling | CKA |"


def test_the_text_says_what_was_compared_in_order():
    text = report.markdown(COMPLETE)
    assert text.startswith("# Comparison on digits\n")
    order = [
        "resnet20 (98.50 %) -> resnet8 (94.00 to 97.10 %): ce, kd, rdd; 12 epochs, seeds 0, 1, 2, on 1 x cpu.",
        f"\n\n    {COMPLETE['command']}\n\n",
        "best epoch is picked with the test set and flatters",
        report.accuracy_table(COMPLETE),
        *(f"- {sentence}" for sentence in report.verdicts(COMPLETE)),
        report.cost_table(COMPLETE),
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "Missing" not in text


def test_the_note_on_intervals_is_for_the_number_of_seeds():
    def note(*accuracies):
        runs = [run("kd", seed, accuracy) for seed, accuracy in enumerate(accuracies)]
        return notes.accuracy_note(results(*runs, labels=("kd",), seeds=len(accuracies)))

    assert "of one seed: without a second there is no interval" in note(96.0)
    assert "at 2 seeds is the mean ± 8.98 deviations" in note(96.0, 96.1)
    assert "Intervals from 2 seeds are very wide" in note(96.0, 96.1)
    assert "at 3 seeds is the mean ± 2.48 deviations" in note(95.0, 96.0, 97.0)
    assert "at 5 seeds is the mean ± 1.24 deviations" in note(94.0, 95.0, 96.0, 97.0, 98.0)
    assert "very wide" not in note(95.0, 96.0, 97.0)
    for accuracies, said in [
        ((96.0, 96.0, 96.0), "the interval is a point"),
        ((99.0, 98.0, 100.0), "may therefore pass 100 %"),
    ]:
        assert said in note(*accuracies)
        assert said not in note(95.0, 96.0, 97.0)
    for accuracies in ((96.0,), (96.0, 96.1), (95.0, 96.0, 97.0)):
        assert "best epoch is picked with the test set and flatters" in note(*accuracies)
    held_out = notes.accuracy_note(COMPLETE | {"validation": 0.2})
    assert "best epoch is picked with held-out training images." in held_out


def test_conditions_are_the_teacher_the_machine_and_the_size_of_the_test_set():
    text = notes.conditions(COMPLETE)
    assert "over seeds alone: all runs share one teacher (resnet20, 98.50 %), one kind of machine (1 x cpu)" in text
    assert "one set of 360 test images" in text
    # sqrt(0.94 * 0.06 / 360) and sqrt(0.971 * 0.029 / 360).
    assert "binomial standard error of 1.25 points at 94.00 % and 0.88 points at 97.10 %" in text
    assert text in report.markdown(COMPLETE)
    large = notes.conditions(COMPLETE | {"test_images": 10_000})
    assert "one set of 10,000 test images" in large
    assert "0.24 points at 94.00 %" in large


def test_conditions_count_the_teachers():
    taught = [run("kd", seed, 96.0, teacher=TEACHER | {"accuracy": 98.0 + seed}) for seed in range(2)]
    text = notes.conditions(results(*taught, labels=("kd",), seeds=2))
    assert "share 2 teachers (resnet20, 98.00 %; resnet20, 99.00 %), one kind of machine" in text
    assert "standard error of 1.03 points at 96.00 %;" in text
    alone = notes.conditions(results(run("kd", 0, 96.0, teacher=None), labels=("kd",), seeds=1))
    assert alone.startswith("All runs share one kind of machine (1 x cpu) and one set of 360 test images.")
    assert notes.conditions(results()) == ""


def test_the_cost_note_explains_the_columns_that_there_are():
    assert "Transfer is" in report.markdown(COMPLETE)
    untransferred = {key: value for key, value in MEASURES.items() if "transfer" not in key}
    text = report.markdown(results(run("kd", 0, 96.0, measures=untransferred)))
    assert "CKA, rank agreement and neighbours shared compare" in text
    assert "ransfer" not in text
    assert "CKA" not in report.markdown(results(run("kd", 0, 96.0)))


def test_the_source_that_trained_the_runs_is_named():
    def source(*trained):
        runs = [
            run(label, seed, 96.0, versions={"rdd_jax": version} if version else {}, finished=f"{day}T23:59:00+00:00")
            for seed, (label, version, day) in enumerate(trained)
        ]
        given = results(*runs, seeds=len(runs))
        assert notes.source(given) in report.markdown(given)
        return notes.source(given)

    first, later = ("ce", "0.1.0+aaa", "2026-11-20"), ("ce", "0.1.0+aaa", "2026-11-21")
    assert source(first) == "All finished runs were trained by rdd_jax 0.1.0+aaa (2026-11-20)."
    assert source(later, first).endswith("rdd_jax 0.1.0+aaa (2026-11-20 to 2026-11-21).")
    assert source(first, ("kd", "0.1.0+bbb", "2026-11-20"), later) == (
        "The runs were trained by 2 different versions of the source (2026-11-20 to 2026-11-21): "
        "rdd_jax 0.1.0+aaa: ce (2 runs); rdd_jax 0.1.0+bbb: kd (1 run)."
    )
    assert "by a commit that they have not recorded" in source(("ce", "", "2026-11-20"))
    assert notes.source(results()) == ""


def test_missing_runs_are_named():
    unfinished = copy.deepcopy(COMPLETE)
    unfinished["runs"] = [run for run in COMPLETE["runs"] if (run["label"], run["seed"]) not in {("ce", 2), ("kd", 0)}]
    unfinished["labels"].append("crd refresh.kind=once")
    named = "ce at seed 2; kd at seed 0; crd refresh.kind=once at seeds 0, 1, 2."
    assert report.missing(unfinished).startswith("5 of the 12 runs asked for are not finished")
    assert report.markdown(unfinished).rstrip().endswith(named)
    rows = cells(report.accuracy_table(unfinished))
    assert rows["ce"]["seeds"] == "2 of 3"
    # The seed that both have: 94 against 96.
    assert rows["ce"]["against kd"] == "-2.00"
    assert set(list(rows["crd refresh.kind=once"].values())[2:]) == {"–"}


def test_published_accuracies_are_those_of_the_same_networks():
    def papers(student):
        labels = ("kd", "rdd_curriculum", "rdx_triplet")
        runs = [run(label, 0, 73.0, teacher=TEACHER | {"name": "resnet32x4"}) for label in labels]
        for one in runs:
            one["summary"]["student"]["name"] = student
        return report.markdown(results(*runs, labels=labels, seeds=1, preset="cifar100"))

    text = papers("resnet8x4")
    rows = cells(re.search(r"(?:^\|.*\n)+", text, re.MULTILINE).group().strip())
    published = {label: row["published"] for label, row in rows.items()}
    expected = {"kd": "73.33 / 72.93", "rdd_curriculum": "72.96", "rdx_triplet": "–", "teacher resnet32x4": "79.42"}
    assert published == expected
    assert "Irakiza & Mugisha (2026)" in text
    assert "published" not in papers("resnet8").lower()
    assert "published" not in report.markdown(COMPLETE).lower()


def test_writes_the_texts_and_the_figures_and_nothing_else(tmp_path):
    page = report.write(tmp_path / "new" / "folder", COMPLETE, {"kd": {1: 90.0, 12: 96.0}, "sp": {12: 95.0}})
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert {path.name for path in page.parent.iterdir()} == {"report.md", "report.html", "figures"}
    figures = {path.stem: path.read_bytes() for path in (page.parent / "figures").iterdir()}
    assert figures.keys() == {"curves", "accuracies", "cost"}
    for content in figures.values():
        width, height = png_size(content)
        assert width == 1500
        assert 300 <= height <= 1500
    text = (page.parent / "report.md").read_text()
    assert text.startswith(report.markdown(COMPLETE))
    assert set(re.findall(r"\(figures/(\w+)\.png\)", text)) == figures.keys()
    assert "published single runs" in text


def test_the_page_shows_the_numbers(tmp_path):
    text = prose(report.write(tmp_path, COMPLETE))
    assert "Highest mean 97.10 % rdd, better than kd Baseline 96.00 % kd Teacher 98.50 % resnet20" in text
    assert "Runs finished 9 of 9 seeds 0, 1, 2" in text
    assert "ce 3 94.00 ± 1.00 91.52 to 96.48 94.00 ± 1.00 -2.00 0.074" in text
    for note in (notes.accuracy_note, notes.conditions):
        assert note(COMPLETE) in html.unescape(text)
    assert "rdd is better than kd by 1.10 points" in text
    assert "rdd 1.00 0.25 6 1.5 0.900 ± 0.000" in text
    assert COMPLETE["command"] in text


def test_the_page_is_self_contained(tmp_path):
    page = report.write(tmp_path, COMPLETE).read_text()
    references = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'> )]*)", page)
    assert len(references) == 3
    assert all(reference.startswith("data:image/png;base64,") for reference in references)
    assert "<script" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page


def test_everything_is_escaped(tmp_path):
    hostile = "<b>kd|$x^"
    given = results(run(hostile, 0, 96.0), run("ce", 0, 95.0), labels=(hostile, "ce", "<i>"), baseline=hostile)
    page = report.write(tmp_path, given | {"command": "</pre><script>"}, {"<u>": {3: 90.0}}).read_text()
    for tag in ("<b>", "<i>", "<u>", "<script"):
        assert tag not in page
    assert "&lt;b&gt;kd|$x^" in page
    assert "<i>" not in report.accuracy_table(given)
    assert r"&lt;b>kd\|$x^" in cells(report.accuracy_table(given))


@pytest.mark.parametrize(
    ("labels", "seeds", "epochs", "figures"),
    [
        ([f"rdd distill.rdd.negatives=kind-{i}" for i in range(15)], 2, 12, {"curves", "accuracies", "cost"}),
        (["kd"], 1, 1, {"curves", "accuracies"}),
        (["kd", "ce"], 2, 3, {"curves", "accuracies", "cost"}),
    ],
    ids=["many long labels", "one of everything", "few epochs"],
)
def test_grids_of_any_size_are_drawn(tmp_path, labels, seeds, epochs, figures):
    runs = [run(label, seed, 80.0 + i, epochs=epochs) for i, label in enumerate(labels) for seed in range(seeds)]
    report.write(tmp_path, results(*runs, labels=labels, seeds=seeds, baseline=labels[0]))
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == figures


def test_nothing_finished_is_said(tmp_path):
    text = prose(report.write(tmp_path, results()))
    assert "No run is finished of ce, kd, rdd at seeds 0, 1, 2" in text
    assert "9 of the 9 runs asked for are not finished" in text
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("baseline", [96.0, float("nan")])
def test_diverged_runs_are_survived(tmp_path, baseline):
    diverged = results(run("kd", 0, baseline), run("ce", 0, float("nan")), seeds=1)
    assert "Highest mean" not in prose(report.write(tmp_path, diverged))
    assert cells(report.accuracy_table(diverged))["ce"]["last epoch"] == "–"


def test_the_style_of_others_is_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    report.write(tmp_path, COMPLETE)
    assert dict(matplotlib.rcParams) == before


def test_published_curves_are_the_test_accuracies(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(
        "method,epoch,metric,value\nkd,1,test_acc,14.5\nkd,1,test_loss,3.6\nkd,2,test_acc,20\nsp,1,test_acc,9\n"
    )
    assert read_published(path) == {"kd": {1: 14.5, 2: 20.0}, "sp": {1: 9.0}}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (None, "No such file"),
        (b"", "no column epoch, method, metric, value"),
        (b"method,epoch,value\nkd,1,2\n", "no column metric"),
        (b"method,epoch,metric,value\nkd,1,test_loss,2\n", "no line whose metric is test_acc"),
        (b"method,epoch,metric,value\nkd,one,test_acc,2\n", "'one'"),
        (b"method,epoch,metric,value\nkd,1,test_acc\n", "NoneType"),
        (b"method,epoch,metric,value\nk\xff,1,test_acc,2\n", "decode"),
    ],
)
def test_other_files_are_no_published_curves(tmp_path, content, wrong):
    path = tmp_path / "curves.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=wrong) as error:
        read_published(path)
    assert str(path) in str(error.value)
