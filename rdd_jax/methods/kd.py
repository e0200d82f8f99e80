"""Knowledge distillation (Hinton et al. 2015)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def kd(*, temperature: float = 4.0) -> Distiller:
    """KL divergence from the teacher's softened predictions (Hinton et al. 2015).

    Args:
        temperature: by which both logits are divided, above 0.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"kd: temperature must be above 0; got {temperature}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return logits.distillation_kl(student.logits, teacher.logits, temperature)

    return from_loss(loss)
