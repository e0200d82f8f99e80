"""Losses of logits that separate the true class from the others: DKD, NKD and RLD.

Nothing takes the logarithm of a probability that may have underflowed to 0, as the releases do.
"""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array


def decoupled_kl(student: Array, teacher: Array, labels: Array, temperature: float) -> tuple[Array, Array]:
    """Computes the two parts of the KL divergence KL(teacher || student) (DKD, Zhao et al. 2022, eq. 7).

    With p the teacher's probability of the true class, each row's KL divergence is target + (1 - p) * others. With two
    classes the second part is 0, because there is one other class only.

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        labels: i32[b].
        temperature: by which both logits are divided, > 0.

    Returns:
        (target, others), each f32[], the mean over rows times temperature squared: the divergence of the probabilities
        of the true class and of all others together (TCKD), and that of the probabilities among the others (NCKD).

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked("decoupled_kl", student, teacher, labels)
    student, teacher = student / temperature, teacher / temperature
    is_label = _is_label(labels, student)
    target = _binary_kl(_log_odds(teacher, is_label), _log_odds(student, is_label))
    others = _kl_among(student, teacher, ~is_label)
    return jnp.mean(target) * temperature**2, jnp.mean(others) * temperature**2


def normalized_cross_entropy(student: Array, teacher: Array, labels: Array, gamma: float, temperature: float) -> Array:
    """Computes the loss of normalized knowledge distillation (NKD, Yang et al. 2023, eq. 8).

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        labels: i32[b].
        gamma: the weight of the second term.
        temperature: T of the second term, > 0.

    Returns:
        f32[], the mean over rows of -p_y log q_y - gamma T^2 sum_i p_i log q_i, with p of the teacher and q of the
        student: the probabilities of the true class y, at temperature 1, and those among the other classes i, at
        temperature T.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked("normalized_cross_entropy", student, teacher, labels)
    is_label = _is_label(labels, student)
    target = jnp.sum(jnp.where(is_label, jax.nn.softmax(teacher) * jax.nn.log_softmax(student), 0), axis=-1)
    probabilities, _ = _among(teacher / temperature, ~is_label)
    _, log_probabilities = _among(student / temperature, ~is_label)
    others = jnp.sum(probabilities * log_probabilities, axis=-1)
    return -jnp.mean(target + gamma * temperature**2 * others)


def refined_kl(student: Array, teacher: Array, labels: Array, temperature: float) -> tuple[Array, Array]:
    """Computes the two divergences of refined logit distillation (RLD, Sun et al. 2025), for teachers that err.

    Args:
        student: f32[b,c], logits.
        teacher: f32[b,c], logits; no gradient flows to them.
        labels: i32[b].
        temperature: T of the second divergence, > 0.

    Returns:
        (confidence, masked), each f32[], the mean over rows: the divergence of the student's probability of the true
        class from the teacher's largest probability, whichever class has it (SCD, at temperature 1); and T^2 times
        that of the probabilities among the classes to which the teacher gives less than to the true class (MCD), 0 for
        a row without such classes.

    Raises:
        ValueError: if the shapes do not match.
    """
    student, teacher = _checked("refined_kl", student, teacher, labels)
    is_label = _is_label(labels, student)
    is_largest = _is_label(jnp.argmax(teacher, axis=-1), teacher)
    confidence = _binary_kl(_log_odds(teacher, is_largest), _log_odds(student, is_label))
    is_below = teacher < jnp.sum(jnp.where(is_label, teacher, 0), axis=-1, keepdims=True)
    masked = _kl_among(student / temperature, teacher / temperature, is_below)
    return jnp.mean(confidence), jnp.mean(masked) * temperature**2


def _checked(name: str, student: Array, teacher: Array, labels: Array) -> tuple[Array, Array]:
    """Returns both logits as f32[b,c], without gradient for the teacher's, or raises ValueError."""
    if student.shape != teacher.shape or student.ndim != 2 or labels.shape != student.shape[:1]:
        raise ValueError(
            f"{name} needs student and teacher [b,c] and labels [b]; got {student.shape}, {teacher.shape} and "
            f"{labels.shape}"
        )
    return student.astype(jnp.float32), jax.lax.stop_gradient(teacher).astype(jnp.float32)


def _is_label(labels: Array, logits: Array) -> Array:
    """Returns bool[b,c], True at the label of each row."""
    return labels[:, None] == jnp.arange(logits.shape[-1])


def _log_odds(logits: Array, is_class: Array) -> Array:
    """Returns f32[b], log(p / (1 - p)) of the probability p of one class of each row."""
    chosen = jnp.sum(jnp.where(is_class, logits, 0), axis=-1)
    return chosen - jax.nn.logsumexp(logits, axis=-1, where=~is_class)


def _binary_kl(teacher: Array, student: Array) -> Array:
    """Computes f32[b], the KL divergence of two classes from the log-odds f32[b] of teacher and student."""
    yes = jax.nn.sigmoid(teacher) * (jax.nn.log_sigmoid(teacher) - jax.nn.log_sigmoid(student))
    return yes + jax.nn.sigmoid(-teacher) * (jax.nn.log_sigmoid(-teacher) - jax.nn.log_sigmoid(-student))


def _kl_among(student: Array, teacher: Array, mask: Array) -> Array:
    """Computes f32[b], the KL divergence of the probabilities among the classes of a mask; 0 without classes."""
    _, log_student = _among(student, mask)
    probabilities, log_teacher = _among(teacher, mask)
    return jnp.sum(probabilities * (log_teacher - log_student), axis=-1)


def _among(logits: Array, mask: Array) -> tuple[Array, Array]:
    """Returns the probabilities f32[b,c] among the classes of a mask, and their logarithms; both are 0 outside."""
    # Without a class the sum would be that of nothing, whose gradient is NaN; the result is then not used.
    is_summed = mask | ~jnp.any(mask, axis=-1, keepdims=True)
    log_sum = jax.nn.logsumexp(logits, axis=-1, keepdims=True, where=is_summed)
    log_probabilities = jnp.where(mask, logits - log_sum, 0)
    return jnp.where(mask, jnp.exp(log_probabilities), 0), log_probabilities
