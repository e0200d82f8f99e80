"""Losses between the relations of examples: Relational Knowledge Distillation (Park et al. 2019)."""

import jax
import jax.numpy as jnp
import optax

from rdd_jax.types import Array


def rkd_distance(student: Array, teacher: Array) -> Array:
    """Huber loss between the pairwise distances, each set divided by its mean (Park et al. 2019, eq. 5-7).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings; no gradient flows through them.

    Returns:
        f32[]: mean over the b*b pairs; 0 where teacher and student agree up to scale, rotation and shift.

    Raises:
        ValueError: where the batches differ in size.
    """
    _check(student, teacher)
    teacher = jax.lax.stop_gradient(teacher)
    return _huber(_normalized_distances(student), _normalized_distances(teacher))


def rkd_angle(student: Array, teacher: Array) -> Array:
    """Huber loss between the cosines of the angles of all triplets (Park et al. 2019, eq. 8-9).

    Args:
        student: f32[b,ds], embeddings of the whole batch.
        teacher: f32[b,dt], embeddings; no gradient flows through them.

    Returns:
        f32[]: mean over the b*b*b triplets.

    Raises:
        ValueError: where the batches differ in size.
    """
    _check(student, teacher)
    return _huber(_angles(student), _angles(jax.lax.stop_gradient(teacher)))


def _check(student: Array, teacher: Array) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(f"needs embeddings [b,ds] and [b,dt]; got {student.shape} and {teacher.shape}")


def _huber(student: Array, teacher: Array) -> Array:
    return jnp.mean(optax.losses.huber_loss(student, teacher))


def _normalized_distances(embeddings: Array) -> Array:
    """Pairwise Euclidean distances f32[b,b], divided by the mean of those above zero."""
    products = jnp.matmul(embeddings, embeddings.T, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.diagonal(products)
    squared = jnp.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    # Two wheres: the root has an infinite slope at 0, and 0 * inf on the unused branch would be NaN.
    apart = (squared > 1e-12) & ~jnp.eye(len(embeddings), dtype=bool)
    distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
    mean = jnp.sum(distances) / jnp.maximum(jnp.sum(apart), 1)
    return distances / jnp.where(mean > 0.0, mean, 1.0)


def _angles(embeddings: Array) -> Array:
    """cos of the angle at i between j and k, f32[b,b,b] indexed [i,j,k]."""
    differences = embeddings[None, :, :] - embeddings[:, None, :]
    squared = jnp.sum(jnp.square(differences), axis=-1, keepdims=True)
    apart = squared > 0.0
    # Two wheres, as above: i = j has no direction and must pass no gradient.
    directions = jnp.where(apart, differences * jax.lax.rsqrt(jnp.where(apart, squared, 1.0)), 0.0)
    return jnp.einsum("ijd,ikd->ijk", directions, directions, precision=jax.lax.Precision.HIGHEST)
