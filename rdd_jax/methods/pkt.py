"""Probabilistic knowledge transfer (Passalis & Tefas 2018)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import relational
from rdd_jax.methods._global_batch import global_embeddings
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def pkt() -> Distiller:
    """Probabilistic knowledge transfer (Passalis & Tefas 2018) on the embeddings of the global batch."""

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return relational.probabilistic_transfer(*global_embeddings(student, teacher, axis_name))

    return from_loss(loss)
