"""Losses of the relations between the examples of a batch, such as distances and similarities.

With several devices, pass the embeddings of the global batch.
"""

import math

import jax
import jax.numpy as jnp
import optax

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize

_HIGHEST = jax.lax.Precision.HIGHEST
_EPSILON = 1e-7


def rkd_distance(student: Array, teacher: Array) -> Array:
    """Computes the Huber loss between pairwise distances, divided by their mean (Park et al. 2019, eq. 5-7).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings; no gradient flows to them.

    Returns:
        f32[], the mean over b*b pairs; 0 if the embeddings are equal up to scale, rotation and translation.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked(student, teacher)
    teacher = jax.lax.stop_gradient(teacher)
    return _huber(_normalized_distances(student), _normalized_distances(teacher))


def rkd_angle(student: Array, teacher: Array) -> Array:
    """Computes the Huber loss between the cosines of the angles of all triplets (Park et al. 2019, eq. 8-9).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings; no gradient flows to them.

    Returns:
        f32[], the mean over b*b*b triplets.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked(student, teacher)
    return _huber(_angles(student), _angles(jax.lax.stop_gradient(teacher)))


def probabilistic_transfer(student: Array, teacher: Array) -> Array:
    """Computes the KL divergence of neighbour probabilities, derived from cosines (Passalis & Tefas 2018).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings; no gradient flows to them.

    Returns:
        f32[], the mean over b*b pairs; 0 if student and teacher are equal up to scale and rotation.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked(student, teacher)
    student_probabilities = _neighbor_probabilities(student)
    teacher_probabilities = _neighbor_probabilities(jax.lax.stop_gradient(teacher))
    log_ratios = jnp.log((teacher_probabilities + _EPSILON) / (student_probabilities + _EPSILON))
    return jnp.mean(teacher_probabilities * log_ratios)


def similarity_preserving(student: Array, teacher: Array) -> Array:
    """Computes the squared difference of the row-normalised Gram matrices of the batch (Tung & Mori 2019).

    Args:
        student: f32[b,...], feature maps or embeddings of the whole batch.
        teacher: f32[b,...], of any shape; no gradient flows to it.

    Returns:
        f32[], the mean over b*b pairs; 0 if student and teacher are equal up to scale and rotation.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked(*(x.reshape(len(x), math.prod(x.shape[1:])) for x in (student, teacher)))
    return jnp.mean(jnp.square(_gram(student) - _gram(jax.lax.stop_gradient(teacher))))


def correlation_congruence(student: Array, teacher: Array) -> Array:
    """Computes the mean product of the errors of consecutive rows (Peng et al. 2019, in RepDistiller's form).

    Gradients flow to both sides, because both are trained projections.

    Args:
        student: f32[b,d], projected embeddings of the whole batch.
        teacher: f32[b,d], projected embeddings.

    Returns:
        f32[], the mean over i of e[i] . e[i+1] with e = |student - teacher|; 0 for fewer than two rows.

    Raises:
        ValueError: if the shapes differ.
    """
    student, teacher = _checked(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(f"correlation_congruence needs equal shapes; got {student.shape} and {teacher.shape}")
    errors = jnp.abs(student - teacher)
    return jnp.sum(errors[:-1] * errors[1:]) / max(len(errors) - 1, 1)


def _checked(student: Array, teacher: Array) -> tuple[Array, Array]:
    """Returns both in float32; raises ValueError unless they are [b,ds] and [b,dt]."""
    if student.ndim != 2 or teacher.ndim != 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(f"needs embeddings [b,ds] and [b,dt]; got {student.shape} and {teacher.shape}")
    return student.astype(jnp.float32), teacher.astype(jnp.float32)


def _huber(student: Array, teacher: Array) -> Array:
    """Averages the Huber loss over all entries."""
    return jnp.mean(optax.losses.huber_loss(student, teacher))


def _normalized_distances(embeddings: Array) -> Array:
    """Computes the pairwise Euclidean distances f32[b,b], divided by the mean of those above zero."""
    products = jnp.matmul(embeddings, embeddings.T, precision=_HIGHEST)
    squares = jnp.diagonal(products)
    squared = jnp.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    # Two wheres, because the root has an infinite slope at 0 and 0 * inf in the unused branch would be NaN. The
    # comparison is negated, so that NaN is not taken for a distance of 0.
    apart = ~(squared <= 1e-12) & ~jnp.eye(len(embeddings), dtype=bool)
    distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
    mean = jnp.sum(distances) / jnp.maximum(jnp.sum(apart), 1)
    return distances / jnp.where(mean > 0.0, mean, 1.0)


def _angles(embeddings: Array) -> Array:
    """Computes the cosine of the angle at i between j and k, f32[b,b,b] indexed [i,j,k]."""
    differences = embeddings[None, :, :] - embeddings[:, None, :]
    squared = jnp.sum(jnp.square(differences), axis=-1, keepdims=True)
    apart = squared != 0.0  # True for NaN.
    # Two wheres, as in `_normalized_distances`: i = j has no direction and must pass no gradient.
    directions = jnp.where(apart, differences * jax.lax.rsqrt(jnp.where(apart, squared, 1.0)), 0.0)
    return jnp.einsum("ijd,ikd->ijk", directions, directions, precision=_HIGHEST)


def _neighbor_probabilities(embeddings: Array) -> Array:
    """Computes (cosine + 1) / 2 of all pairs, f32[b,b], with rows scaled to the sum 1."""
    unit = l2_normalize(embeddings)
    # Rounding may make the cosine of opposite rows less than -1, and then the logarithm NaN.
    similarities = jnp.maximum(jnp.matmul(unit, unit.T, precision=_HIGHEST) + 1.0, 0.0) / 2.0
    return similarities / jnp.sum(similarities, axis=1, keepdims=True)


def _gram(rows: Array) -> Array:
    """Computes the Gram matrix f32[b,b] with rows of unit length."""
    return l2_normalize(jnp.matmul(rows, rows.T, precision=_HIGHEST))
