"""Refined logit distillation (Sun et al. 2025)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import decoupled
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def rld(*, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> Distiller:
    """Refined logit distillation (Sun et al. 2025), which does not learn a teacher's wrong order of the classes.

    With two classes there is nothing to learn from the second divergence.

    Args:
        alpha: the weight of the divergence of the student's probability of the true class from the teacher's largest
            probability (SCD), not negative.
        beta: the weight of the divergence among the classes that the teacher finds less likely than the true one (MCD),
            not negative.
        temperature: of the second divergence, above 0.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0 and temperature > 0):
        raise ValueError(
            "rld: alpha and beta must not be negative, and one above 0, temperature above 0; got "
            f"{alpha}, {beta} and {temperature}"
        )

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        confidence, masked = decoupled.refined_kl(student.logits, teacher.logits, batch.labels, temperature)
        return alpha * confidence + beta * masked

    return from_loss(loss, needs_labels=True)
