"""The measures of finished runs, on networks that nobody trained; data sets other than the digits are made of them."""

import json

import jax
import numpy as np
import pytest
from left import leave_run
from settings import run_config

from configs import ce, kd
from experiments.compare import student_metrics
from rdd_jax.core.errors import UserError
from rdd_jax.data import datasets
from rdd_jax.runs import records, trained_models

AGREEMENTS = {"cka", "rank_agreement", "neighbors_shared"}


def taught(teacher):
    config = kd.get_config("digits")
    config.teacher.update({"name": "resnet8", "checkpoint": str(teacher)})
    return run_config(config)


def untaught():
    config = ce.get_config("digits")
    config.teacher.name = ""
    return run_config(config)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    leave_run(place / "student", taught(place / "teacher"), 0)
    leave_run(place / "teacher", untaught(), 1)
    return place


@pytest.fixture
def without_mnist(tmp_path, monkeypatch):
    for variable in ("TFDS_DATA_DIR", "RDD_JAX_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.fixture
def with_mnist(monkeypatch):
    """As MNIST, the digits three times as large."""
    digits = datasets.load("digits")
    train, test = (images.repeat(3, axis=1).repeat(3, axis=2) for images in (digits.train_images, digits.test_images))
    mnist = digits._replace(name="mnist", train_images=train, test_images=test)
    monkeypatch.setattr(datasets, "is_prepared", lambda name: name == "mnist")
    monkeypatch.setattr(datasets, "load", {"mnist": mnist, "digits": digits}.__getitem__)


def embed(workdir, images):
    """What the network of a run makes of digits, by its own definition."""
    model, variables = trained_models.load_student(workdir, "float32")
    normalized = trained_models.make_input_normalizer(datasets.load("digits"))(images)
    features = jax.jit(lambda shown: model.clone(axis_name=None).apply(variables, shown, train=False))(normalized)
    return np.asarray(features.embedding, np.float64)


def test_a_student_is_compared_with_its_teacher(place, without_mnist):
    measured = student_metrics.measure(place / "student")
    assert measured.keys() == AGREEMENTS  # The probe would need MNIST.
    student, teacher = (
        space - space.mean(axis=0)
        for space in (embed(place / name, datasets.load("digits").test_images) for name in ("student", "teacher"))
    )
    kernels = [space @ space.T for space in (student, teacher)]
    cka = np.sum(kernels[0] * kernels[1]) / (np.linalg.norm(kernels[0]) * np.linalg.norm(kernels[1]))
    assert measured["cka"] == pytest.approx(cka, rel=1e-3)
    for name in AGREEMENTS:
        assert type(measured[name]) is float
        assert 0 < measured[name] < 1
    # Nobody has trained them, and they still see the same images.
    assert measured["neighbors_shared"] > 5 * 10 / 359


def test_a_student_that_is_its_teacher_agrees_with_it(place, without_mnist):
    twin = leave_run(place / "twin", taught(place / "teacher"), 1)
    assert student_metrics.measure(twin) == pytest.approx(dict.fromkeys(AGREEMENTS, 1.0))


def test_a_streamed_run_is_measured_as_one_in_memory(place, tmp_path, without_mnist):
    streamed = taught(place / "teacher").replaced({"data.loading": "stream"})
    expected = student_metrics.measure(place / "student")
    assert student_metrics.measure(leave_run(tmp_path / "run", streamed, 0)) == pytest.approx(expected, rel=1e-5)


def test_a_run_without_a_teacher_is_probed_alone(place, with_mnist):
    measured = student_metrics.measure(place / "teacher")
    assert measured.keys() == {"transfer", "transfer_dataset"}
    assert measured["transfer_dataset"] == "mnist"
    assert type(measured["transfer"]) is float
    # The digits are themselves again once they are made smaller, and chance is 10 %.
    assert 70 < measured["transfer"] < 100
    digits = datasets.load("digits")
    train, test = (embed(place / "teacher", images) for images in (digits.train_images, digits.test_images))
    ours = student_metrics.transfer(lambda images: np.concatenate([train, test]), (8, 8, 1), digits)
    assert measured["transfer"] == pytest.approx(ours, abs=5)


def test_a_run_with_both_has_all(place, with_mnist):
    assert student_metrics.measure(place / "student").keys() == AGREEMENTS | {"transfer", "transfer_dataset"}


@pytest.mark.parametrize("scale", [np.nan, np.inf, 0.0])
def test_a_student_that_diverged_or_sees_nothing_has_no_measures(place, with_mnist, scale):
    assert student_metrics.measure(leave_run(place / f"times {scale}", taught(place / "teacher"), 0, scale)) == {}


def test_nothing_agrees_with_a_teacher_that_sees_nothing(place, with_mnist):
    blind = leave_run(place / "blind", untaught(), 0, scale=0.0)
    student = leave_run(place / "misled", taught(blind), 0)
    assert student_metrics.measure(student).keys() == {"transfer", "transfer_dataset"}


def test_only_a_finished_run_is_measured(place, tmp_path):
    with pytest.raises(UserError, match="there is no run in"):
        student_metrics.measure(tmp_path)
    records.write_config(untaught(), tmp_path)
    with pytest.raises(UserError, match="is not finished: finish it first"):
        student_metrics.measure(tmp_path)


def test_measures_are_kept_and_not_taken_again(place, without_mnist):
    workdir = place / "student"
    assert student_metrics.kept(workdir) == {}
    student_metrics.keep(workdir)
    assert student_metrics.kept(workdir).keys() == AGREEMENTS
    (workdir / "measures.json").write_text(json.dumps({"cka": 0.5}))
    student_metrics.keep(workdir)
    assert student_metrics.kept(workdir) == {"cka": 0.5}


# The probe.


def probe(embeddings):
    """The probe's percentage for embeddings f64[n,d] of the digits, those of training first."""
    return student_metrics.transfer(lambda images: embeddings, (8, 8, 1), datasets.load("digits"))


def test_the_probe_finds_what_a_hyperplane_tells_apart():
    digits = datasets.load("digits")
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    told_apart = np.eye(10)[labels] + 0.01 * np.random.default_rng(0).normal(size=(len(labels), 10))
    assert probe(told_apart) == 100.0
    np.testing.assert_allclose(probe(1e4 * told_apart + 7), 100.0)
    # Standardised, nothing is left of what is the same for all: the probe can but say one class.
    most_common = np.bincount(digits.test_labels).max() / len(digits.test_labels)
    assert probe(np.ones((len(labels), 3))) <= 100 * most_common
    assert 2 < probe(np.random.default_rng(1).normal(size=(len(labels), 5))) < 20


def test_the_probe_shows_the_student_images_of_its_own_shape():
    digits = datasets.load("digits")
    shown = []

    def flat(images):
        shown.append(images)
        return images.reshape(len(images), -1).astype(np.float32)

    # Pixels alone tell most of the digits apart, in whatever size and colour.
    assert student_metrics.transfer(flat, (6, 10, 3), digits) > 90
    assert [(images.shape, images.dtype) for images in shown] == [((1797, 6, 10, 3), np.uint8)]


def test_images_that_fit_stay_as_they_are():
    images = datasets.load("digits").test_images
    np.testing.assert_array_equal(student_metrics.fit_images(images, (8, 8, 1)), images)


def test_channels_are_made_to_fit():
    images = np.random.default_rng(0).integers(0, 256, size=(5, 8, 8, 1), dtype=np.uint8)
    coloured = student_metrics.fit_images(images, (8, 8, 3))
    np.testing.assert_array_equal(coloured, np.concatenate([images] * 3, axis=-1))
    colours = np.stack([images[..., 0], images[..., 0] // 2, np.zeros((5, 8, 8), np.uint8)], axis=-1)
    gray = student_metrics.fit_images(colours, (8, 8, 1))
    assert gray.shape == (5, 8, 8, 1)
    np.testing.assert_allclose(gray[..., 0], colours.astype(np.float64).mean(axis=-1), atol=0.5)


def test_sizes_are_made_to_fit():
    ramp = np.broadcast_to(np.uint8([0, 100, 200, 240])[:, None], (1, 4, 4))[..., None]
    larger = student_metrics.fit_images(ramp, (8, 4, 1))
    # Twice as fine, between the middles of the old pixels; beyond the outer ones, as they are.
    np.testing.assert_array_equal(larger[0, :, 0, 0], [0, 25, 75, 125, 175, 210, 230, 240])
    noise = np.random.default_rng(0).integers(0, 256, size=(1, 28, 28, 1), dtype=np.uint8)
    smaller = student_metrics.fit_images(noise, (8, 8, 1))
    assert smaller.std() < noise.std() / 2  # An average of many pixels, and not a choice among them.
    np.testing.assert_array_equal(student_metrics.fit_images(np.full((1, 28, 28, 1), 255, np.uint8), (8, 8, 1)), 255)
