"""Loss and accuracy on a whole split, on all devices, exact whatever the size of the last batch."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from rdd_jax import feeds, parallel
from rdd_jax.data.stream import Stream
from rdd_jax.types import Array

EVALUATION_BATCH = 500

# (variables, images uint8[n,h,w,c], labels i32[n]) -> {"loss": nats, "accuracy": percent}
Evaluate = Callable[[dict[str, Any], Array | Stream, Array], dict[str, float]]


def make_evaluate(model: nn.Module, normalize: Callable[[Array], Array]) -> Evaluate:
    """The evaluation of a network on replicated or streamed images; `normalize` makes f32[b,h,w,c] of uint8 ones."""

    def evaluate_batch(feed, variables, images, labels, indices):
        logits, _ = model.apply(variables, normalize(feed.rows(images, indices)), train=False)
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels[indices])
        correct = jnp.argmax(logits, axis=-1) == labels[indices]
        counted = indices >= 0
        sums = jnp.stack([jnp.sum(losses * counted), 100.0 * jnp.sum(correct & counted), jnp.sum(counted)])
        loss, accuracy, count = jax.lax.psum(sums, parallel.AXIS)
        return {"loss": Average(loss, count), "accuracy": Average(accuracy, count)}

    @functools.cache
    def batch_metrics(feed):
        return parallel.data_parallel(functools.partial(evaluate_batch, feed), in_axes=(None, feed.in_axis, None, 0))

    def evaluate(variables, images, labels):
        batches, feed = parallel.padded_batches(len(labels), EVALUATION_BATCH), feeds.of(images)
        measure = batch_metrics(type(feed))
        # One after the other: images that are streamed must not pile up before the devices.
        parts = [
            jax.device_get(measure(variables, shown, labels, indices))
            for indices, shown in zip(batches, feed.evaluated(batches), strict=True)
        ]
        totals = {name: functools.reduce(Average.merge, (part[name] for part in parts)) for name in parts[0]}
        # Divided in Python's floats: a sum of up to 2**24 is exact in float32, its quotient is not.
        return {name: float(average.total) / float(average.count) for name, average in totals.items()}

    return evaluate
