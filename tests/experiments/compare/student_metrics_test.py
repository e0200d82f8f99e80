"""The metrics of finished runs, with random networks; MNIST is made of the digits."""

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

SIMILARITIES = {"cka", "rank_correlation", "mutual_knn"}


def config_of(teacher=None):
    """The configuration of a run with that teacher, or without one."""
    config = (kd if teacher else ce).get_config("digits")
    config.teacher.update({"name": "resnet8", "checkpoint": str(teacher)} if teacher else {"name": ""})
    return run_config(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    leave_run(folder / "teacher", config_of(), 1)
    leave_run(folder / "student", config_of(folder / "teacher"), 0)
    return folder


@pytest.fixture
def without_mnist(tmp_path, monkeypatch):
    for variable in ("TFDS_DATA_DIR", "RDD_JAX_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.fixture
def with_mnist(monkeypatch):
    """The digits three times as large, under the name of MNIST."""
    digits = datasets.load("digits")
    train, test = (images.repeat(3, axis=1).repeat(3, axis=2) for images in (digits.train_images, digits.test_images))
    mnist = digits._replace(name="mnist", train_images=train, test_images=test)
    monkeypatch.setattr(datasets, "is_prepared", lambda name: name == "mnist")
    monkeypatch.setattr(datasets, "load", {"mnist": mnist, "digits": digits}.__getitem__)


def centered_embeddings(workdir):
    """The centered embeddings of the digits' test images, computed by the network's definition."""
    network, variables = trained_models.load_student(workdir, "float32")
    dataset = datasets.load("digits")
    normalized = trained_models.make_input_normalizer(dataset)(dataset.test_images)
    output = jax.jit(lambda images: network.apply(variables, images, train=False)[0])(normalized)
    embeddings = np.asarray(output.embedding, np.float64)
    return embeddings - embeddings.mean(axis=0)


def test_a_student_is_compared_with_its_teacher(folder, without_mnist):
    metrics = student_metrics.compute(folder / "student")
    assert metrics.keys() == SIMILARITIES  # The transfer needs MNIST.
    kernels = [space @ space.T for space in map(centered_embeddings, (folder / "student", folder / "teacher"))]
    cka = np.sum(kernels[0] * kernels[1]) / (np.linalg.norm(kernels[0]) * np.linalg.norm(kernels[1]))
    assert metrics["cka"] == pytest.approx(cka, rel=1e-3)
    assert all(0 < metrics[name] < 1 for name in SIMILARITIES)
    same = leave_run(folder / "same", config_of(folder / "teacher"), 1)
    assert student_metrics.compute(same) == pytest.approx(dict.fromkeys(SIMILARITIES, 1.0))


def test_a_run_without_a_teacher_has_the_transfer_alone(folder, with_mnist):
    metrics = student_metrics.compute(folder / "teacher")
    assert metrics.keys() == {"transfer", "transfer_dataset"}
    assert 70 < metrics["transfer"] < 100  # Resized, the images are the digits again; chance is 10 %.


@pytest.mark.parametrize("scale", [np.nan, 0.0])
def test_degenerate_embeddings_have_no_metrics(folder, with_mnist, scale):
    diverged = leave_run(folder / f"times {scale}", config_of(folder / "teacher"), 0, scale)
    assert student_metrics.compute(diverged) == {}
    misled = leave_run(folder / f"taught by {scale}", config_of(diverged), 0)
    assert student_metrics.compute(misled).keys() == {"transfer", "transfer_dataset"}


def test_an_unfinished_run_is_refused(folder, tmp_path):
    records.write_config(config_of(), tmp_path)
    with pytest.raises(UserError, match="is not finished: finish it first"):
        student_metrics.compute(tmp_path)


def test_saved_metrics_are_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(student_metrics, "compute", lambda workdir: {"cka": 0.25})
    assert student_metrics.load_if_saved(tmp_path) == {}
    student_metrics.compute_if_missing(tmp_path)
    assert student_metrics.load_if_saved(tmp_path) == {"cka": 0.25}
    (tmp_path / "student_metrics.json").write_text(json.dumps({"cka": 0.5}))
    student_metrics.compute_if_missing(tmp_path)
    assert student_metrics.load_if_saved(tmp_path) == {"cka": 0.5}


def probe(embeddings):
    """The probe's accuracy for embeddings f64[n,d] of the digits, the training images first."""
    return student_metrics.transfer(lambda images: embeddings, (8, 8, 1), datasets.load("digits"))


def test_the_probe_separates_what_a_hyperplane_can():
    digits = datasets.load("digits")
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    separable = np.eye(10)[labels] + 0.01 * np.random.default_rng(0).normal(size=(len(labels), 10))
    assert probe(separable) == 100.0
    np.testing.assert_allclose(probe(1e4 * separable + 7), 100.0)
    most_common = np.bincount(digits.test_labels).max() / len(digits.test_labels)
    assert probe(np.ones((len(labels), 3))) <= 100 * most_common


def test_the_probe_resizes_images_to_the_network_s_inputs():
    shapes = []

    def embed(images):
        shapes.append((images.shape, images.dtype))
        return images.reshape(len(images), -1).astype(np.float32)

    assert student_metrics.transfer(embed, (6, 10, 3), datasets.load("digits")) > 90
    assert shapes == [((1797, 6, 10, 3), np.uint8)]


def test_channels_are_averaged_and_repeated():
    images = np.random.default_rng(0).integers(0, 256, size=(5, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(student_metrics.fit_images(images, (8, 8, 1)), images)
    colored = student_metrics.fit_images(images, (8, 8, 3))
    np.testing.assert_array_equal(colored, np.concatenate([images] * 3, axis=-1))
    colors = np.stack([images[..., 0], images[..., 0] // 2, np.zeros((5, 8, 8), np.uint8)], axis=-1)
    gray = student_metrics.fit_images(colors, (8, 8, 1))
    np.testing.assert_allclose(gray[..., 0], colors.astype(np.float64).mean(axis=-1), atol=0.5)


def test_resizing_is_bilinear_with_antialiasing():
    ramp = np.broadcast_to(np.uint8([0, 100, 200, 240])[:, None], (1, 4, 4))[..., None]
    larger = student_metrics.fit_images(ramp, (8, 4, 1))
    np.testing.assert_array_equal(larger[0, :, 0, 0], [0, 25, 75, 125, 175, 210, 230, 240])
    noise = np.random.default_rng(0).integers(0, 256, size=(1, 28, 28, 1), dtype=np.uint8)
    assert student_metrics.fit_images(noise, (8, 8, 1)).std() < noise.std() / 2
