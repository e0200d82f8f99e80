"""Losses of logits: cross-entropy with labels and KL divergence from a teacher."""

import jax
import jax.numpy as jnp
import optax

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import norm


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


def transformed_kl(student: Array, teacher: Array, power: float, weighted: bool = False) -> Array:
    """Computes KL(transformed teacher || student) (Transformed Teacher Matching, TTM and WTTM, Zheng & Yang 2024).

    The teacher's probabilities are raised to a power and normalised, which is a temperature of 1 / power; the student's
    temperature is 1.

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        power: of the teacher's probabilities, > 0.
        weighted: whether each row is multiplied by the sum of the powers before they are normalised, which is larger
            for a less certain teacher.

    Returns:
        f32[], the sum over classes, averaged over rows.

    Raises:
        ValueError: if the shapes are not equal and [b,c].
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(f"transformed_kl needs two arrays [b,c]; got {student.shape} and {teacher.shape}")
    student, teacher = student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)
    log_powers = power * jax.nn.log_softmax(teacher)
    divergences = optax.losses.kl_divergence_with_log_targets(
        jax.nn.log_softmax(student), jax.nn.log_softmax(log_powers)
    )
    return jnp.mean(jnp.sum(jnp.exp(log_powers), axis=-1) * divergences if weighted else divergences)


def standardize(logits: Array) -> Array:
    """Shifts and scales each row to mean 0 and standard deviation 1 (Sun et al. 2024).

    The standard deviation is the unbiased one, and 1e-7 is added to it.

    Args:
        logits: f[b,c]. Two classes would have the same result for all logits.

    Returns:
        f32[b,c].

    Raises:
        ValueError: for fewer than 3 classes, or another shape.
    """
    if logits.ndim != 2 or logits.shape[-1] < 3:
        raise ValueError(f"standardize needs logits [b,c] of 3 classes or more; got {logits.shape}")
    centred = logits.astype(jnp.float32) - jnp.mean(logits, axis=-1, keepdims=True, dtype=jnp.float32)
    deviations = norm(centred)[:, None] / (logits.shape[-1] - 1) ** 0.5
    return centred / (deviations + 1e-7)
