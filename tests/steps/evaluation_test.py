"""Evaluation and embedding of a whole split, whatever its size and the number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from golden import GOLDENS

from rdd_jax.core import devices
from rdd_jax.core.types import ModelOutput
from rdd_jax.data import pipeline
from rdd_jax.data.pipeline import EVALUATION_BATCH
from rdd_jax.models import Network, as_network
from rdd_jax.steps import calibration
from rdd_jax.steps.embedding import make_embed
from rdd_jax.steps.evaluation import correct_predictions, make_evaluate

SHAPE = (2, 2, 1)
CLASSES = 7


class Linear(nn.Module):
    """Softmax regression, whose embedding is its input."""

    @nn.compact
    def __call__(self, images, train):
        pixels = images.reshape(len(images), -1)
        return ModelOutput(nn.Dense(CLASSES)(pixels), pixels)


def normalize(images):
    return images.astype(np.float32) / 256  # exact, whoever divides


def split(size):
    generator = np.random.default_rng(size)
    images = generator.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
    return images, generator.integers(0, CLASSES, size).astype(np.int32)


# One example, not one for each device, just below, at and above one batch, and several batches.
@pytest.mark.parametrize("size", [1, 3, EVALUATION_BATCH - 1, EVALUATION_BATCH, EVALUATION_BATCH + 1, 1203])
def test_every_example_counts_once(size):
    images, labels = split(size)
    variables = Linear().init(jax.random.key(0), np.zeros((1, *SHAPE)), train=False)
    variables, dataset = devices.replicate(variables), pipeline.put(images, labels)

    result, reliability = make_evaluate(as_network(Linear()), normalize)(variables, dataset)
    layer = variables["params"]["Dense_0"]
    logits = np.asarray(normalize(images).reshape(size, -1) @ layer["kernel"] + layer["bias"], np.float64)
    losses = scipy.special.logsumexp(logits, axis=1) - logits[np.arange(size), labels]
    np.testing.assert_allclose(result["nll"], losses.mean(), rtol=1e-5)
    assert result["accuracy"] == 100.0 * np.sum(logits.argmax(1) == labels) / size

    top5 = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert result["top5_accuracy"] == 100.0 * np.sum(top5 == labels[:, None]) / size

    confidences, correct = scipy.special.softmax(logits, axis=1).max(axis=1), logits.argmax(1) == labels
    bins = calibration.reliability(*map(jnp.asarray, (confidences, correct, np.ones(size, bool))))
    np.testing.assert_array_equal(reliability.counts, bins.counts)
    np.testing.assert_allclose(reliability.confidences, bins.confidences, rtol=1e-5)
    np.testing.assert_array_equal(reliability.correct, bins.correct)
    np.testing.assert_allclose(result["ece"], calibration.calibration_error(bins), rtol=1e-4)
    np.testing.assert_allclose(result["aurc"], calibration.area_under_risk_coverage(confidences, correct), rtol=1e-4)

    embeddings = make_embed(as_network(Linear()), normalize)(variables, dataset)
    np.testing.assert_array_equal(embeddings, normalize(images).reshape(size, -1))


@pytest.mark.parametrize("rows", [64, 500])
def test_calibration_is_that_of_torchmetrics_whatever_the_batches(rows, monkeypatch):
    monkeypatch.setattr(pipeline, "EVALUATION_BATCH", rows)
    golden = np.load(GOLDENS / "calibration.npz")
    numbers = np.arange(len(golden["labels"]))
    images = np.stack([numbers // 256, numbers % 256], axis=-1).astype(np.uint8)[:, None, None]

    def look_up(variables, positions, *, train, rngs=None):
        return ModelOutput(variables["logits"][positions], positions), {}

    evaluate = make_evaluate(Network(None, look_up), lambda pixels: pixels[:, 0, 0] @ jnp.array([256, 1]))
    variables = devices.replicate({"logits": golden["logits"]})
    metrics = evaluate(variables, pipeline.put(images, golden["labels"])).metrics
    np.testing.assert_allclose(metrics["ece"], golden["ece15"], rtol=1e-5)
    np.testing.assert_allclose(metrics["nll"], golden["nll"], rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 5, 6, 20])
def test_top5_accuracy_counts_the_five_largest_logits(classes):
    generator = np.random.default_rng(classes)
    logits = generator.integers(0, 4, (200, classes)).astype(np.float32)  # with many ties
    labels = generator.integers(0, classes, 200)
    correct = correct_predictions(logits, labels)
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(correct["accuracy"], order[:, 0] == labels)
    assert ("top5_accuracy" in correct) == (classes > 5)
    if classes > 5:
        np.testing.assert_array_equal(correct["top5_accuracy"], (order[:, :5] == labels[:, None]).any(axis=1))
