"""Cross-entropy with the labels."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def ce() -> Distiller:
    """Cross-entropy with the labels, of mixed images with the soft labels. It does not read the teacher's output."""

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return logits.cross_entropy(student.logits, batch.labels if batch.soft_labels is None else batch.soft_labels)

    return from_loss(loss, needs_labels=True)
