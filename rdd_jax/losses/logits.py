"""Losses between the logits of student and teacher, in float32 whatever their dtype; NaN for an empty batch."""

import jax
import jax.numpy as jnp
import optax

from rdd_jax.core.types import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Cross-entropy of logits f32[b,c] with labels i32[b], mean over the batch: f32[].

    Raises:
        ValueError: where the shapes do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"cross_entropy needs logits [b,c] and labels [b]; got {logits.shape} and {labels.shape}")
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels))


def distillation_kl(student: Array, teacher: Array, temperature: float) -> Array:
    """KL(teacher || student) of the softened predictions, times temperature squared (Hinton et al. 2015).

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows through them.
        temperature: what both are divided by, > 0.

    Returns:
        f32[]: sum over classes, mean over the batch.

    Raises:
        ValueError: where the shapes differ.
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(f"distillation_kl needs two arrays [b,c]; got {student.shape} and {teacher.shape}")
    student, teacher = student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)
    log_student = jax.nn.log_softmax(student / temperature)
    log_teacher = jax.nn.log_softmax(teacher / temperature)
    return jnp.mean(optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)) * temperature**2
