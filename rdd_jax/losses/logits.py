"""Losses of logits: cross-entropy with labels and KL divergence from a teacher."""

import jax
import jax.numpy as jnp
import optax

from rdd_jax.core.types import Array


def cross_entropy(student: Array, labels: Array, smoothing: float = 0.0, weights: Array | None = None) -> Array:
    """Computes the cross-entropy with labels, which are smoothed by the uniform distribution over the classes.

    Args:
        student: f32[b,c], logits.
        labels: i32[b], or f32[b,c], the probabilities of the classes.
        smoothing: s in [0, 1]: the target is (1 - s) * label + s / c, the label as probabilities (Szegedy et al. 2016,
            section 7).
        weights: f32[b], of the rows in the mean; equal by default.

    Returns:
        f32[], the (weighted) mean over rows.

    Raises:
        ValueError: if the shapes do not match, or `smoothing` is outside of [0, 1].
    """
    if student.ndim != 2 or labels.shape not in (student.shape[:1], student.shape):
        raise ValueError(
            f"cross_entropy needs student [b,c] and labels [b] or [b,c]; got {student.shape} and {labels.shape}"
        )
    if weights is not None and weights.shape != labels.shape[:1]:
        raise ValueError(f"cross_entropy needs weights [b]; got {weights.shape} for labels {labels.shape}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"cross_entropy needs smoothing in [0, 1]; got {smoothing}")
    student = student.astype(jnp.float32)
    if labels.ndim == 1:
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(student, labels)
    else:
        losses = optax.losses.softmax_cross_entropy(student, labels)
    if smoothing:
        uniform = -jnp.mean(jax.nn.log_softmax(student), axis=-1)
        losses = (1.0 - smoothing) * losses + smoothing * uniform
    return jnp.mean(losses) if weights is None else jnp.sum(weights * losses) / jnp.sum(weights)


def distillation_kl(student: Array, teacher: Array, temperature: float) -> Array:
    """Computes KL(teacher || student) of the softened predictions, times temperature squared (Hinton et al. 2015).

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        temperature: by which both logits are divided, > 0.

    Returns:
        f32[], the sum over classes, averaged over rows.

    Raises:
        ValueError: if the shapes are not equal and [b,c].
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(f"distillation_kl needs two arrays [b,c]; got {student.shape} and {teacher.shape}")
    student, teacher = student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)
    log_student = jax.nn.log_softmax(student / temperature)
    log_teacher = jax.nn.log_softmax(teacher / temperature)
    return jnp.mean(optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)) * temperature**2
