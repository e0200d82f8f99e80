"""Calibration of classifiers from their logits."""

import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.steps.calibration import BINS, calibration_error, confidence, reliability


def expected_calibration_error(logits: Array, labels: Array, bins: int = BINS) -> Array:
    """Returns the expected calibration error (ECE) of softmax probabilities, f32[], in [0, 1].

    The examples are divided by their confidence, the largest probability, into bins of equal width. The error is the
    mean over the examples of |accuracy - mean confidence| of their bin.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.

    Args:
        logits: f32[n,classes].
        labels: i32[n].
        bins: the number of bins.

    Raises:
        ValueError: for other shapes, or fewer than one bin.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits must be [n,classes] and labels [n] with n > 0, got {logits.shape} and {labels.shape}")
    if bins < 1:
        raise ValueError(f"there must be at least one bin, got {bins}")
    correct = jnp.argmax(logits, axis=-1) == labels
    return calibration_error(reliability(confidence(logits), correct, jnp.ones_like(correct), bins))
