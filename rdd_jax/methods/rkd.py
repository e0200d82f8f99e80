"""Relational knowledge distillation (Park et al. 2019)."""

import jax.numpy as jnp

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import relational
from rdd_jax.methods._global_batch import global_embeddings
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def rkd(*, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Distiller:
    """Relational knowledge distillation (Park et al. 2019) on the embeddings of the global batch.

    Args:
        distance_weight: of the distance-wise loss; 0 leaves it out.
        angle_weight: of the angle-wise loss; 0 leaves it out.

    Raises:
        ValueError: if a weight is negative or both are 0.
    """
    if not (distance_weight >= 0 and angle_weight >= 0 and distance_weight + angle_weight > 0):
        raise ValueError(
            f"rkd: weights must not be negative, and one above 0; got {distance_weight} and {angle_weight}"
        )

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        embeddings = global_embeddings(student, teacher, axis_name)
        total = jnp.zeros(())
        if distance_weight:
            total += distance_weight * relational.rkd_distance(*embeddings)
        if angle_weight:
            total += angle_weight * relational.rkd_angle(*embeddings)
        return total

    return from_loss(loss)
