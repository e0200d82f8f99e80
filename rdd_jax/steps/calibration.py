"""Calibration of a classifier: the agreement of its confidence, which is its largest probability, with its accuracy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.types import Array

BINS = 15


class Reliability(NamedTuple):
    """Sums over the examples in each of `bins` bins of confidence, of equal width; sums of parts of a split add up.

    counts: f32[bins], the number of examples.
    confidences: f32[bins], the sum of their confidences.
    correct: f32[bins], the number of correct predictions.
    """

    counts: Array
    confidences: Array
    correct: Array


def confidence(logits: Array) -> Array:
    """Returns the probability of the predicted class, f32[b], from logits f32[b,classes]."""
    return jnp.max(jax.nn.softmax(logits), axis=-1)


def reliability(confidences: Array, correct: Array, counted: Array, bins: int = BINS) -> Reliability:
    """Sums up confidences and correct predictions by bin of confidence.

    Args:
        confidences: f32[b], in [0, 1].
        correct: bool[b], whether the prediction is correct.
        counted: bool[b], False for rows that fill up a batch.
        bins: the number of bins; bin i has the confidences in (i/bins, (i+1)/bins].
    """
    number = jnp.clip(jnp.ceil(confidences * bins).astype(jnp.int32) - 1, 0, bins - 1)
    # Sums over a mask are the same in every run, which scattered sums on a GPU are not.
    member = (number[:, None] == jnp.arange(bins)) & counted[:, None]
    return Reliability(
        jnp.sum(member, axis=0, dtype=jnp.float32),
        jnp.sum(jnp.where(member, confidences[:, None], 0.0), axis=0),
        jnp.sum(member & correct[:, None], axis=0, dtype=jnp.float32),
    )


def calibration_error(found: Reliability) -> Array:
    """Returns the expected calibration error (ECE), f32[], in [0, 1].

    It is the mean over the examples of |accuracy - mean confidence| of their bin.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.
    """
    return abs(found.correct - found.confidences).sum() / found.counts.sum()


def area_under_risk_coverage(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Returns the area under the risk-coverage curve (AURC), in [0, 1]; smaller is better.

    A classifier that abstains below a threshold of confidence covers a share of the examples, and its risk is the
    share of errors among them. The area is the mean risk, with each example's confidence as the threshold once.

    Source: Geifman, Uziel & El-Yaniv (2019), Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers.

    Args:
        confidences: f32[n].
        correct: bool[n].
    """
    order = np.argsort(-confidences)
    errors, falling = np.cumsum(~correct[order]), -confidences[order]
    covered = np.searchsorted(falling, falling, side="right")  # Examples of equal confidence are covered together.
    return float(np.mean(errors[covered - 1] / covered))


def as_json(found: Reliability) -> dict[str, list[Any]]:
    """Returns {"counts", "confidences", "accuracies"} by bin, the last two as means, None for an empty bin."""
    counts = [int(count) for count in found.counts]
    means = {"confidences": found.confidences, "accuracies": found.correct}
    divided = {
        name: [float(total) / count if count else None for total, count in zip(totals, counts, strict=True)]
        for name, totals in means.items()
    }
    return {"counts": counts, **divided}
