"""Embeddings of the global batch, for losses that compare examples with each other."""

import jax.numpy as jnp

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, ModelOutput


def global_embeddings(student: ModelOutput, teacher: ModelOutput, axis_name: str | None) -> tuple[Array, Array]:
    """Gathers both networks' embeddings from all devices: f32[b,ds] and f32[b,dt] with the global b."""
    student_embedding = all_gather(student.embedding, axis_name).astype(jnp.float32)
    return student_embedding, all_gather(teacher.embedding, axis_name).astype(jnp.float32)
