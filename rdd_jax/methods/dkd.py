"""Decoupled knowledge distillation (Zhao et al. 2022)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import decoupled, logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def dkd(*, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, standardize: bool = False) -> Distiller:
    """Decoupled knowledge distillation (Zhao et al. 2022): KL divergences of the true class and of the others.

    With two classes there is nothing to learn from the second.

    Args:
        alpha: the weight of the divergence of the true class against all others (TCKD), not negative.
        beta: the weight of the divergence among the other classes (NCKD), not negative.
        temperature: by which both logits are divided, above 0.
        standardize: whether the logits of both are first scaled to mean 0 and standard deviation 1 (Sun et al. 2024,
            with temperature 2, alpha 9 and beta 72). Needs 3 classes or more.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0 and temperature > 0):
        raise ValueError(
            "dkd: alpha and beta must not be negative, and one above 0, temperature above 0; got "
            f"{alpha}, {beta} and {temperature}"
        )

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        student_logits, teacher_logits = student.logits, teacher.logits
        if standardize:
            student_logits, teacher_logits = logits.standardize(student_logits), logits.standardize(teacher_logits)
        target, others = decoupled.decoupled_kl(student_logits, teacher_logits, batch.labels, temperature)
        return alpha * target + beta * others

    return from_loss(loss, needs_labels=True)
