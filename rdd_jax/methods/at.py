"""Attention transfer (Zagoruyko & Komodakis 2017)."""

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import features
from rdd_jax.methods._feature_pairs import paired_maps
from rdd_jax.methods.from_loss import from_loss


def at(*, power: int = 2) -> Distiller:
    """Attention transfer (Zagoruyko & Komodakis 2017), summed over the maps after the stem. Weight 1000.

    Raises:
        ValueError: for a power that is odd, which would let signs cancel, or below 2.
    """
    if power < 2 or power % 2:
        raise ValueError(f"at: power must be even and at least 2; got {power}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        return sum(features.attention_transfer(*maps, power=power) for maps in paired_maps(student, teacher))

    return from_loss(loss, needs_feature_maps=True)
