"""Loss, accuracy and top-5 accuracy on a whole split, on all devices, exact whatever the size of the last batch."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from rdd_jax.core import devices
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data import pipeline
from rdd_jax.data.streaming import Stream


class Evaluate(Protocol):
    """The evaluation of one network."""

    def __call__(
        self, variables: dict[str, Any], images: Array | Stream, labels: Array, on_batch: OnBatch | None = None
    ) -> dict[str, float]:
        """Measures the network on images uint8[n,h,w,c] with labels i32[n].

        Returns:
            {"loss": nats, "accuracy": percent, "top5_accuracy": percent}, the last for more than 5 classes only.
        """


def accuracies(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Picks the accuracies, in percent, out of the metrics of an evaluation."""
    return {name: metrics[name] for name in ("accuracy", "top5_accuracy") if name in metrics}


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


def make_evaluate(model: nn.Module, normalize: Callable[[Array], Array]) -> Evaluate:
    """Makes the evaluation of a network on replicated or streamed images.

    Args:
        model: its `apply` returns a ModelOutput.
        normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
    """

    def evaluate_batch(feed, variables, images, labels, indices):
        logits = model.apply(variables, normalize(feed.rows(images, indices)), train=False).logits
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels[indices])
        counted = indices >= 0
        correct = correct_predictions(logits, labels[indices])
        sums = {
            "loss": jnp.sum(losses * counted),
            **{name: 100.0 * jnp.sum(rows & counted) for name, rows in correct.items()},
            "count": jnp.sum(counted, dtype=jnp.float32),
        }
        sums = jax.lax.psum(sums, devices.AXIS)
        count = sums.pop("count")
        return {name: Average(total, count) for name, total in sums.items()}

    @functools.cache
    def batch_metrics(feed):
        return devices.data_parallel(functools.partial(evaluate_batch, feed), in_axes=(None, feed.in_axis, None, 0))

    def evaluate(variables, images, labels, on_batch=None):
        measure = batch_metrics(type(pipeline.of(images)))
        # One after the other: images that are streamed must not pile up before the devices.
        parts = [
            jax.device_get(measure(variables, shown, labels, indices))
            for indices, shown in pipeline.evaluation_batches(images, on_batch)
        ]
        totals = {name: functools.reduce(Average.merge, (part[name] for part in parts)) for name in parts[0]}
        # Divided in Python's floats: a sum of up to 2**24 is exact in float32, its quotient is not.
        return {name: float(average.total) / float(average.count) for name, average in totals.items()}

    return evaluate
