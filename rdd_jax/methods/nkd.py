"""Normalized knowledge distillation (Yang et al. 2023)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import decoupled
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def nkd(*, gamma: float = 1.5, temperature: float = 1.0) -> Distiller:
    """Normalized knowledge distillation (Yang et al. 2023): cross-entropies of the true class and among the others.

    With two classes there is nothing to learn from the second.

    Args:
        gamma: the weight of the cross-entropy among the other classes, not negative. The release uses 1.5 on ImageNet
            and 3.5 on CIFAR-100.
        temperature: of that cross-entropy, above 0. The release uses 1 on ImageNet and 3 on CIFAR-100.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (gamma >= 0 and temperature > 0):
        raise ValueError(f"nkd: gamma must not be negative, temperature above 0; got {gamma} and {temperature}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return decoupled.normalized_cross_entropy(student.logits, teacher.logits, batch.labels, gamma, temperature)

    return from_loss(loss, needs_labels=True)
