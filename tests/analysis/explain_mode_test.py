"""--mode=explain on the digits, with networks that nobody trained: they differ all the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from left import leave_run
from settings import run_config

from configs import rdd
from rdd_jax.analysis.explain.options import Options, page_name
from rdd_jax.core import io
from rdd_jax.data import datasets
from rdd_jax.main import main
from rdd_jax.runs import layout, trained_models


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a student and a teacher."""
    place = tmp_path_factory.mktemp("runs")
    config = rdd.get_config("digits")
    config.teacher.update({"name": "resnet8", "checkpoint": str(place / "teacher")})
    for seed, name in enumerate(("student", "teacher")):
        leave_run(place / name, run_config(config), seed)
    return place


def explained(capsys, place, *arguments):
    """-> (the page's path as printed, explanation.json)."""
    assert main(["main", "--mode=explain", f"--workdir={place / 'student'}", "--clusters=2", *arguments]) == 0
    page = capsys.readouterr().out.strip()
    return page, json.loads((place / "student" / page).with_name(layout.EXPLANATION).read_text())


def accuracy(workdir, positions):
    """In percent, of test images; that one of them is a toss-up is no mistake."""
    network, variables = trained_models.load_student(workdir, "float32")
    dataset = datasets.load("digits")
    images = trained_models.make_input_normalizer(dataset)(dataset.test_images[positions])
    logits = network.apply(variables, images, train=False)[0].logits
    return float(100 * np.mean(np.argmax(logits, axis=1) == dataset.test_labels[positions]))


def test_a_student_against_its_teacher(capsys, place):
    page, record = explained(capsys, place, "--classes=3,5,8", "--examples=60")
    assert page == str(place / "student" / "explain" / "teacher-test-3-5-8-60examples-2clusters" / "index.html")
    student, teacher = record["models"]
    assert (student["title"], teacher["title"]) == ("student", "teacher")
    assert teacher["place"] == str(place / "teacher")
    examples = record["examples"]
    assert examples["count"] == len(examples["positions"]) == 60
    labels = datasets.load("digits").test_labels
    np.testing.assert_array_equal(examples["positions"], np.flatnonzero(np.isin(labels, (3, 5, 8)))[:60])
    assert student["accuracy"] == pytest.approx(accuracy(place / "student", examples["positions"]), abs=1.7)
    assert record["teacher_unique"]["clusters"]
    for cluster in record["teacher_unique"]["clusters"]:
        assert set(cluster["labels"]) <= {"3", "5", "8"}
    assert record["sanity"]["clusters"] == []
    assert record["sanity"]["chance"]["tied_share"] == 1


def test_a_student_against_itself(capsys, place):
    page, record = explained(capsys, place, f"--against={place / 'student'}", "--split=train", "--examples=60")
    assert page == str(place / "student" / "explain" / "against-student-train-60examples-2clusters" / "index.html")
    assert record["examples"]["split"] == "train"
    assert record["examples"]["positions"] == list(range(60))
    assert [model["title"] for model in record["models"]] == ["student", "other model"]
    for name in ("teacher_unique", "student_unique"):
        assert record[name]["clusters"] == []
        assert record[name]["success"]["pairs"] == 0


def test_another_teacher_than_the_runs_own_is_refused_and_the_page_stays(capsys, place):
    page = place / "student" / "explain" / "teacher-test-2clusters" / "index.html"
    io.write_text(page, "of the right teacher")
    io.write_json(place / "student" / layout.TEACHER, {"fingerprint": "0" * 64})
    assert main(["main", "--mode=explain", f"--workdir={place / 'student'}", "--clusters=2"]) == 2
    (place / "student" / layout.TEACHER).unlink()
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"the teacher in {place / 'teacher'} is not the one that {place / 'student'} began with" in line
    assert page.read_text() == "of the right teacher"


@pytest.mark.parametrize(
    ("options", "classes", "name"),
    [
        (Options(), [], "teacher-test"),
        (Options(split="train", dataset="mnist"), [], "teacher-mnist-train"),
        (Options(), ["3", "5", "8"], "teacher-test-3-5-8"),
        (Options(examples=60, clusters=2), [], "teacher-test-60examples-2clusters"),
        (Options(against="runs/kd"), [], "against-kd-test"),
        (Options(against="other/kd"), [], "against-kd-68dd0018-test"),
        (Options(), ["a b"], "teacher-test-a_b-47893fd4"),
        (Options(), ["apple"] * 20, "teacher-test-apple-apple-apple-apple-apple-apple-apple-apple-ce5386d8"),
    ],
)
def test_pages_are_named_by_their_options(monkeypatch, options, classes, name):
    monkeypatch.setattr("os.getcwd", lambda: "/home/me")
    assert page_name(options, Path("runs/rdd"), classes) == name
