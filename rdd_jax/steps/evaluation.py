"""Accuracy, loss and calibration on a whole split, on all devices, exact whatever the size of the last batch."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdd_jax.core import devices
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.augmentation import Normalize
from rdd_jax.data.pipeline import Batches, PipelineDataset
from rdd_jax.models import Network
from rdd_jax.steps.calibration import (
    Reliability,
    area_under_risk_coverage,
    calibration_error,
    confidence,
    reliability,
)

_METRICS = ("accuracy", "top5_accuracy", "nll", "ece", "aurc")


class Evaluation(NamedTuple):
    """The results of a network on a split.

    metrics: {"nll": mean negative log-likelihood of the labels in nats, which is the cross-entropy; "accuracy" and, for
        more than 5 classes only, "top5_accuracy" in percent; "ece" in [0, 1], see `calibration.calibration_error`;
        "aurc" in [0, 1], see `calibration.area_under_risk_coverage`}.
    reliability: of the whole split.
    """

    metrics: dict[str, float]
    reliability: Reliability


class Evaluate(Protocol):
    """The evaluation of one network."""

    def __call__(
        self, variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /
    ) -> Evaluation:
        """Measures the network on a whole split.

        Args:
            variables: of the network, replicated.
            dataset: the split.
            on_batch: is called after each batch.
        """


def evaluation_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Picks the metrics of an `Evaluation` out of a record that holds them among others."""
    return {name: record[name] for name in _METRICS if name in record}


def correct_predictions(logits: Array, labels: Array) -> dict[str, Array]:
    """Tells which rows are classified correctly.

    Args:
        logits: f32[b,classes].
        labels: i32[b].

    Returns:
        {"accuracy": bool[b], "top5_accuracy": bool[b]}: the label has the largest logit; it is among the five largest,
        which is left out with no more than 5 classes. Of equal logits that of the lower class counts as the larger.
    """
    correct = {"accuracy": jnp.argmax(logits, axis=-1) == labels}
    if logits.shape[-1] > 5:
        _, largest = jax.lax.top_k(logits, 5)
        correct["top5_accuracy"] = jnp.any(largest == labels[:, None], axis=-1)
    return correct


def make_evaluate(network: Network, normalize: Normalize) -> Evaluate:
    """Makes the function that evaluates a network on a split.

    Args:
        network: the network.
        normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
    """

    def evaluate_batch(variables: dict[str, Any], batches: Batches) -> _Part:
        batch = batches.batch(0)
        logits = network.apply(variables, normalize(batch.inputs), train=False)[0].logits
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        counted = batch.indices >= 0
        correct = correct_predictions(logits, batch.labels)
        sums = {
            "nll": jnp.sum(losses * counted),
            **{name: 100.0 * jnp.sum(rows & counted) for name, rows in correct.items()},
        }
        confidences, right = confidence(logits), correct["accuracy"]
        totals = jax.lax.psum((sums, reliability(confidences, right, counted)), devices.AXIS)
        rows = jax.lax.all_gather((confidences, right, counted), devices.AXIS, tiled=True)
        return _Part(*totals, *rows)

    @functools.cache
    def compiled(in_axes: Any) -> Any:
        return devices.data_parallel(evaluate_batch, in_axes=(None, in_axes))

    def evaluate(variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /) -> Evaluation:
        measure = compiled(dataset.in_axes)
        # Each result is fetched before the next batch is sent: streamed images must not pile up on the devices.
        return _join([jax.device_get(measure(variables, batches)) for batches in dataset.evaluation_batches(on_batch)])

    return evaluate


class _Part(NamedTuple):
    """The results of a batch: sums over its examples, and the rows of all devices.

    sums: of the metrics that are means over the examples, by name.
    reliability: of the batch.
    confidences: f32[b].
    correct: bool[b].
    counted: bool[b], False for rows that fill up the batch.
    """

    sums: dict[str, Any]
    reliability: Reliability
    confidences: Any
    correct: Any
    counted: Any


def _join(parts: Sequence[_Part]) -> Evaluation:
    """Joins the results of the batches of a split."""
    # In float64: a sum of up to 2**24 is exact in float32, its quotient is not.
    sums, found = jax.tree.map(lambda *values: np.sum(values, axis=0, dtype=np.float64), *(part[:2] for part in parts))
    confidences, correct, counted = (np.concatenate(rows) for rows in zip(*(part[2:] for part in parts), strict=True))
    metrics = {name: float(total / counted.sum()) for name, total in sums.items()}
    metrics["ece"] = float(calibration_error(found))
    metrics["aurc"] = area_under_risk_coverage(confidences[counted], correct[counted])
    return Evaluation(metrics, found)
