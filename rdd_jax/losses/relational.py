"""Losses between the relations of examples: who is near whom in the batch, for the student and for the teacher.

No gradient flows through the teacher's side. Computed in float32 whatever the inputs' dtype; NaN for an empty batch,
and where an input is not a number.
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
    """Huber loss between the pairwise distances, each set divided by its mean (Park et al. 2019, eq. 5-7).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings.

    Returns:
        f32[]: mean over the b*b pairs; 0 where teacher and student agree up to scale, rotation and shift.

    Raises:
        ValueError: where the batches differ in size.
    """
    student, teacher = _checked(student, teacher)
    teacher = jax.lax.stop_gradient(teacher)
    return _huber(_normalized_distances(student), _normalized_distances(teacher))


def rkd_angle(student: Array, teacher: Array) -> Array:
    """Huber loss between the cosines of the angles of all triplets (Park et al. 2019, eq. 8-9).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings.

    Returns:
        f32[]: mean over the b*b*b triplets.

    Raises:
        ValueError: where the batches differ in size.
    """
    student, teacher = _checked(student, teacher)
    return _huber(_angles(student), _angles(jax.lax.stop_gradient(teacher)))


def probabilistic_transfer(student: Array, teacher: Array) -> Array:
    """KL divergence of the probabilities of neighbourhood, from cosines (Passalis & Tefas 2018).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings.

    Returns:
        f32[]: mean over the b*b pairs; 0 where teacher and student agree up to scale and rotation.

    Raises:
        ValueError: where the batches differ in size.
    """
    student, teacher = _checked(student, teacher)
    ours, theirs = _neighbor_probabilities(student), _neighbor_probabilities(jax.lax.stop_gradient(teacher))
    return jnp.mean(theirs * jnp.log((theirs + _EPSILON) / (ours + _EPSILON)))


def similarity_preserving(student: Array, teacher: Array) -> Array:
    """Squared difference of the row-normalised Gram matrices of the batch (Tung & Mori 2019).

    Args:
        student: f32[b,...], maps or embeddings of the whole batch.
        teacher: f32[b,...], of any shape.

    Returns:
        f32[]: mean over the b*b pairs; 0 where teacher and student agree up to scale and rotation.

    Raises:
        ValueError: where the batches differ in size.
    """
    student, teacher = _checked(*(x.reshape(len(x), math.prod(x.shape[1:])) for x in (student, teacher)))
    return jnp.mean(jnp.square(_gram(student) - _gram(jax.lax.stop_gradient(teacher))))


def correlation_congruence(student: Array, teacher: Array) -> Array:
    """How the errors of neighbouring rows go together (after Peng et al. 2019, in RepDistiller's form).

    Both sides are trained projections in that form, so gradients flow through both.

    Args:
        student: f32[b,d], projected embeddings of the whole batch.
        teacher: f32[b,d], projected embeddings.

    Returns:
        f32[]: with e = |student - teacher|, the mean over i of e[i] . e[i+1]; 0 for a single row or none.

    Raises:
        ValueError: where the shapes differ.
    """
    student, teacher = _checked(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(f"correlation_congruence needs equal shapes; got {student.shape} and {teacher.shape}")
    errors = jnp.abs(student - teacher)
    return jnp.sum(errors[:-1] * errors[1:]) / max(len(errors) - 1, 1)


def _checked(student: Array, teacher: Array) -> tuple[Array, Array]:
    """The two in float32."""
    if student.ndim != 2 or teacher.ndim != 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(f"needs embeddings [b,ds] and [b,dt]; got {student.shape} and {teacher.shape}")
    return student.astype(jnp.float32), teacher.astype(jnp.float32)


def _huber(student: Array, teacher: Array) -> Array:
    return jnp.mean(optax.losses.huber_loss(student, teacher))


def _normalized_distances(embeddings: Array) -> Array:
    """Pairwise Euclidean distances f32[b,b], divided by the mean of those above zero."""
    products = jnp.matmul(embeddings, embeddings.T, precision=_HIGHEST)
    squares = jnp.diagonal(products)
    squared = jnp.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    # Two wheres: the root has an infinite slope at 0, and 0 * inf on the unused branch would be NaN. And not >, which
    # would take NaN for no distance.
    apart = ~(squared <= 1e-12) & ~jnp.eye(len(embeddings), dtype=bool)
    distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
    mean = jnp.sum(distances) / jnp.maximum(jnp.sum(apart), 1)
    return distances / jnp.where(mean > 0.0, mean, 1.0)


def _angles(embeddings: Array) -> Array:
    """cos of the angle at i between j and k, f32[b,b,b] indexed [i,j,k]."""
    differences = embeddings[None, :, :] - embeddings[:, None, :]
    squared = jnp.sum(jnp.square(differences), axis=-1, keepdims=True)
    apart = squared != 0.0  # NaN is, too.
    # Two wheres, as above: i = j has no direction and must pass no gradient.
    directions = jnp.where(apart, differences * jax.lax.rsqrt(jnp.where(apart, squared, 1.0)), 0.0)
    return jnp.einsum("ijd,ikd->ijk", directions, directions, precision=_HIGHEST)


def _neighbor_probabilities(embeddings: Array) -> Array:
    """f32[b,b]: each row's (cosine + 1) / 2, scaled to the sum 1."""
    unit = l2_normalize(embeddings)
    # The cosine of opposite rows may round to less than -1, and the logarithm to NaN.
    similarities = jnp.maximum(jnp.matmul(unit, unit.T, precision=_HIGHEST) + 1.0, 0.0) / 2.0
    return similarities / jnp.sum(similarities, axis=1, keepdims=True)


def _gram(rows: Array) -> Array:
    return l2_normalize(jnp.matmul(rows, rows.T, precision=_HIGHEST))
