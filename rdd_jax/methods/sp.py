"""Similarity-preserving distillation (Tung & Mori 2019)."""

import jax.numpy as jnp

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import relational
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def sp() -> Distiller:
    """Similarity-preserving distillation (Tung & Mori 2019) on the deepest maps of the global batch."""

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        maps = (all_gather(output.feature_maps[-1], axis_name) for output in (student, teacher))
        return relational.similarity_preserving(*(x.astype(jnp.float32) for x in maps))

    return from_loss(loss, needs_feature_maps=True)
