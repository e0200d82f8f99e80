"""Cross-entropy with the labels."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import logits
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def ce(*, smoothing: float = 0.0) -> Distiller:
    """Cross-entropy with the labels, of mixed images with the soft labels. It does not read the teacher's output.

    Args:
        smoothing: the share of the target that is uniform over the classes, in [0, 1] (Szegedy et al. 2016).

    Raises:
        ValueError: if the smoothing is outside of [0, 1].
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"ce: smoothing must be in [0, 1]; got {smoothing}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        labels = batch.labels if batch.soft_labels is None else batch.soft_labels
        return logits.cross_entropy(student.logits, labels, smoothing)

    return from_loss(loss, needs_labels=True)
