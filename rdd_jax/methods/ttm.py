"""Transformed teacher matching (Zheng & Yang 2024)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def ttm(*, power: float = 0.1, weighted: bool = False) -> Distiller:
    """Transformed teacher matching (Zheng & Yang 2024): only the teacher's predictions are softened.

    Args:
        power: to which the teacher's probabilities are raised, above 0; it is 1 / temperature.
        weighted: whether an example counts more the less certain the teacher is of it (WTTM).

    Raises:
        ValueError: if the power is not above 0.
    """
    if not power > 0:
        raise ValueError(f"ttm: power must be above 0; got {power}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return logits.transformed_kl(student.logits, teacher.logits, power, weighted)

    return from_loss(loss)
