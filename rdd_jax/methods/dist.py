"""Distillation from a stronger teacher (DIST, Huang et al. 2022)."""

import jax.numpy as jnp

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import correlation
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def dist(*, temperature: float = 4.0, inter_weight: float = 1.0, intra_weight: float = 1.0) -> Distiller:
    """DIST (Huang et al. 2022): Pearson correlations of the predictions instead of a KL divergence.

    Args:
        temperature: by which both logits are divided, above 0. The paper uses 4 on CIFAR-100 and 1 on ImageNet.
        inter_weight: of the correlation over the classes, for each example; 0 leaves it out.
        intra_weight: of the correlation over the examples of the global batch, for each class; 0 leaves it out.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (inter_weight >= 0 and intra_weight >= 0 and inter_weight + intra_weight > 0 and temperature > 0):
        raise ValueError(
            "dist: weights must not be negative, and one above 0, temperature above 0; got "
            f"{inter_weight}, {intra_weight} and {temperature}"
        )

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        total = jnp.zeros(())
        if inter_weight:
            total += inter_weight * correlation.inter_class(student.logits, teacher.logits, temperature)
        if intra_weight:
            student_logits = all_gather(student.logits, axis_name)
            teacher_logits = all_gather(teacher.logits, axis_name)
            total += intra_weight * correlation.intra_class(student_logits, teacher_logits, temperature)
        return total

    return from_loss(loss)
