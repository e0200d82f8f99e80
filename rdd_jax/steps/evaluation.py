"""Loss, accuracy and top-5 accuracy on a whole split, on all devices, exact whatever the size of the last batch."""

import functools
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from rdd_jax.core import devices
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.augmentation import Normalize
from rdd_jax.data.pipeline import Batches, PipelineDataset
from rdd_jax.models import Network


class Evaluate(Protocol):
    """The evaluation of one network."""

    def __call__(
        self, variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /
    ) -> dict[str, float]:
        """Measures the network on a whole split.

        Args:
            variables: of the network, replicated.
            dataset: the split.
            on_batch: is called after each batch.

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


def make_evaluate(network: Network, normalize: Normalize) -> Evaluate:
    """Makes the function that evaluates a network on a split.

    Args:
        network: the network.
        normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
    """

    def evaluate_batch(variables: dict[str, Any], batches: Batches) -> dict[str, Average]:
        batch = batches.batch(0)
        logits = network.apply(variables, normalize(batch.inputs), train=False)[0].logits
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        counted = batch.indices >= 0
        correct = correct_predictions(logits, batch.labels)
        sums = {
            "loss": jnp.sum(losses * counted),
            **{name: 100.0 * jnp.sum(rows & counted) for name, rows in correct.items()},
            "count": jnp.sum(counted, dtype=jnp.float32),
        }
        sums = jax.lax.psum(sums, devices.AXIS)
        count = sums.pop("count")
        return {name: Average(total, count) for name, total in sums.items()}

    @functools.cache
    def compiled(in_axes: Any) -> Any:
        return devices.data_parallel(evaluate_batch, in_axes=(None, in_axes))

    def evaluate(
        variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /
    ) -> dict[str, float]:
        measure = compiled(dataset.in_axes)
        # Each result is fetched before the next batch is sent: streamed images must not pile up on the devices.
        parts = [jax.device_get(measure(variables, batches)) for batches in dataset.evaluation_batches(on_batch)]
        totals = {name: functools.reduce(Average.merge, (part[name] for part in parts)) for name in parts[0]}
        # Divided in Python's floats: a sum of up to 2**24 is exact in float32, its quotient is not.
        return {name: float(average.total) / float(average.count) for name, average in totals.items()}

    return evaluate
