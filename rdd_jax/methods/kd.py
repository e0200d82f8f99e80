"""Knowledge distillation (Hinton et al. 2015), also of standardised logits (Sun et al. 2024)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def kd(*, temperature: float = 4.0, standardize: bool = False) -> Distiller:
    """KL divergence from the teacher's softened predictions (Hinton et al. 2015).

    Args:
        temperature: by which both logits are divided, above 0.
        standardize: whether the logits of both are first scaled to mean 0 and standard deviation 1 (Sun et al. 2024,
            with temperature 2 and weight 9). Needs 3 classes or more.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"kd: temperature must be above 0; got {temperature}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        student_logits, teacher_logits = student.logits, teacher.logits
        if standardize:
            student_logits, teacher_logits = logits.standardize(student_logits), logits.standardize(teacher_logits)
        return logits.distillation_kl(student_logits, teacher_logits, temperature)

    return from_loss(loss)
