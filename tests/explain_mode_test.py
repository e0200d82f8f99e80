"""--mode=explain on the digits, with networks that nobody trained: they differ all the same."""

import json
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from configs import rdd
from rdd_jax import files, models, networks, runs
from rdd_jax.checkpoint import Checkpoints
from rdd_jax.data import datasets
from rdd_jax.main import main


class Left(NamedTuple):
    """As much of a train state as others read."""

    student: dict[str, Any]
    step: int = 1


def leave_run(workdir, network, seed):
    """What a run leaves, without the training."""
    config = rdd.get_config("digits")
    config.student.name = network
    config.teacher.update({"name": "resnet8", "checkpoint": str(workdir.parent / "teacher")})
    runs.write_config(config, workdir)
    variables = models.init(models.create(network, num_classes=10), jax.random.key(seed), (8, 8, 1))
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, Left(variables), None)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    leave_run(place / "student", "resnet8", 0)
    leave_run(place / "teacher", "resnet8", 1)
    return place


def explained(capsys, place, *arguments):
    """-> (the page's path as printed, explanation.json)."""
    assert main(["main", "--mode=explain", f"--workdir={place / 'student'}", "--clusters=2", *arguments]) == 0
    page = capsys.readouterr().out.strip()
    return page, json.loads((place / "student" / page).with_name(files.EXPLANATION).read_text())


def accuracy(workdir, positions):
    """In percent, of test images; that one of them is a toss-up is no mistake."""
    model, variables = networks.load_network(workdir, "float32")
    dataset = datasets.load("digits")
    images = networks.normalizer(dataset)(dataset.test_images[positions])
    logits, _ = model.clone(axis_name=None).apply(variables, images, train=False)
    return float(100 * np.mean(np.argmax(logits, axis=1) == dataset.test_labels[positions]))


def test_a_student_against_its_teacher(capsys, place):
    page, record = explained(capsys, place, "--classes=3,5,8", "--examples=60")
    assert page == str(place / "student" / "explain-teacher" / "index.html")
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
    assert page == str(place / "student" / "explain-student" / "index.html")
    assert record["examples"]["split"] == "train"
    assert record["examples"]["positions"] == list(range(60))
    assert [model["title"] for model in record["models"]] == ["student", "other model"]
    for name in ("teacher_unique", "student_unique"):
        assert record[name]["clusters"] == []
        assert record[name]["success"]["pairs"] == 0
