"""Embeddings of the global batch, for losses that compare examples with each other."""

import jax.numpy as jnp

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, ModelOutput


def global_embeddings(student: ModelOutput, teacher: ModelOutput, axis_name: str | None) -> list[Array]:
    """f32[b,ds] and f32[b,dt], of the batch of all devices."""
    return [all_gather(outputs.embedding, axis_name).astype(jnp.float32) for outputs in (student, teacher)]
