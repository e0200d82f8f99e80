"""Losses of the Pearson correlation between the predictions of student and teacher (DIST, Huang et al. 2022)."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import norm


def inter_class(student: Array, teacher: Array, temperature: float) -> Array:
    """Computes the distance between the predictions for the same example (eq. 9).

    With two classes the correlation is 1 or -1, so that the loss says no more than which of them is the larger.

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        temperature: by which both logits are divided, > 0.

    Returns:
        f32[], temperature squared times the mean over rows of 1 minus the correlation over the classes.

    Raises:
        ValueError: if the shapes are not equal and [b,c].
    """
    student, teacher = _predictions(student, teacher, temperature)
    return temperature**2 * jnp.mean(_distances(student, teacher))


def intra_class(student: Array, teacher: Array, temperature: float) -> Array:
    """Computes the distance between the probabilities of the same class (eq. 10).

    Args:
        student: f32[b,c], logits of the whole batch.
        teacher: f32[b,c], logits; no gradient flows to them.
        temperature: by which both logits are divided, > 0.

    Returns:
        f32[], temperature squared times the mean over classes of 1 minus the correlation over the rows.

    Raises:
        ValueError: if the shapes are not equal and [b,c].
    """
    student, teacher = _predictions(student, teacher, temperature)
    return temperature**2 * jnp.mean(_distances(student.T, teacher.T))


def _predictions(student: Array, teacher: Array, temperature: float) -> tuple[Array, Array]:
    """Returns the softened probabilities f32[b,c] of both, without gradient for the teacher's, or raises ValueError."""
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(f"a correlation loss needs two arrays [b,c]; got {student.shape} and {teacher.shape}")
    student, teacher = student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)
    return jax.nn.softmax(student / temperature), jax.nn.softmax(teacher / temperature)


def _distances(student: Array, teacher: Array) -> Array:
    """Computes f32[n], 1 minus the correlation of the rows of two arrays f32[n,d]."""
    student, teacher = (rows - jnp.mean(rows, axis=-1, keepdims=True) for rows in (student, teacher))
    # As in the release: the correlation of rows that hardly vary goes to 0.
    return 1 - jnp.sum(student * teacher, axis=-1) / (norm(student) * norm(teacher) + 1e-8)
