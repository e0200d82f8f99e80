"""Losses between a projected embedding of the student and the teacher's embedding: SRD and ITRD.

They compare features over the batch. With several devices, pass the embeddings of the global batch.
"""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize

_HIGHEST = jax.lax.Precision.HIGHEST


def log_distance(student: Array, teacher: Array, exponent: float) -> Array:
    """Computes the logarithm of the distance of normalised embeddings (SRD, Miles & Mikolajczyk 2024).

    Each feature of both is normalised to mean 0 and standard deviation 1 over the batch, as batch norm without
    parameters does, with 1e-4 added to the variance.

    Args:
        student: f32[b,d], projected embeddings of the whole batch.
        teacher: f32[b,d], embeddings; no gradient flows to them.
        exponent: p of the distances, >= 1.

    Returns:
        f32[], log(1e-8 + sum of |student - teacher|^p over all b*d entries).

    Raises:
        ValueError: if the shapes are not equal and [b,d].
    """
    student, teacher = _checked("log_distance", student, teacher)
    distances = jnp.abs(_batch_norm(student) - _batch_norm(teacher))
    # The sum may be 0, as for a batch of one row. Beside an ordinary sum the constant is lost in rounding.
    return jnp.log(1e-8 + jnp.sum(distances**exponent))


def log_decorrelation(student: Array, teacher: Array, alpha: float) -> Array:
    """Computes how far the features of both networks are from being correlated (ITRD, Miles et al. 2022).

    A feature that does not vary over the batch counts as uncorrelated.

    Args:
        student: f32[b,d], projected embeddings of the whole batch.
        teacher: f32[b,d], embeddings; no gradient flows to them.
        alpha: the order of Rényi's entropy, > 0.

    Returns:
        f32[], log2 of the sum over the d features of (1 - c)^(2 alpha). c is the Pearson correlation over the batch
        times (b - 1) / b, because the release divides by b and by unbiased standard deviations. c is below
        1, so that the result is finite.

    Raises:
        ValueError: if the shapes are not equal and [b,d].
    """
    student, teacher = _checked("log_decorrelation", student, teacher)
    student, teacher = (l2_normalize((rows - jnp.mean(rows, axis=0)).T) for rows in (student, teacher))
    rows = max(student.shape[1], 1)
    correlations = (rows - 1) / rows * jnp.sum(student * teacher, axis=-1)
    return jnp.log2(jnp.sum((1 - correlations) ** (2 * alpha)))


def mutual_information(student: Array, teacher: Array) -> Array:
    """Computes the negative mutual information of the embeddings by Gram matrices (ITRD, Miles et al. 2022).

    Args:
        student: f32[b,ds], embeddings of the whole batch, projected or not.
        teacher: f32[b,dt], embeddings; no gradient flows to them.

    Returns:
        f32[], the sum over b*b pairs of S^2 - (S T)^2, where S and S T are divided by their trace b. S and T are the
        cosines of the pair by student and teacher, and S T their product. It is not below 0.

    Raises:
        ValueError: if the shapes are not [b,ds] and [b,dt].
    """
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise ValueError(f"mutual_information needs [b,ds] and [b,dt]; got {student.shape} and {teacher.shape}")
    student_cosines, teacher_cosines = (_cosines(rows) for rows in (student, jax.lax.stop_gradient(teacher)))
    return jnp.mean(jnp.square(student_cosines) - jnp.square(student_cosines * teacher_cosines))


def _checked(name: str, student: Array, teacher: Array) -> tuple[Array, Array]:
    """Returns both as f32[b,d], without gradient for the teacher's, or raises ValueError."""
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(f"{name} needs two arrays [b,d]; got {student.shape} and {teacher.shape}")
    return student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)


def _batch_norm(rows: Array) -> Array:
    """Normalises each column of f32[b,d] by its mean and biased variance."""
    return (rows - jnp.mean(rows, axis=0)) * jax.lax.rsqrt(jnp.var(rows, axis=0) + 1e-4)


def _cosines(rows: Array) -> Array:
    """Computes the cosines of all pairs of rows, f32[b,b]."""
    unit = l2_normalize(rows.astype(jnp.float32))
    return jnp.matmul(unit, unit.T, precision=_HIGHEST)
