"""Attention transfer (Zagoruyko & Komodakis 2017)."""

import jax.numpy as jnp

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.losses import features
from rdd_jax.methods._feature_pairs import pair_feature_maps
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.registry import register


@register
def at(*, power: int = 2) -> Distiller:
    """Attention transfer (Zagoruyko & Komodakis 2017), summed over the feature maps after the stem.

    Args:
        power: to which activations are raised, even and at least 2.

    Raises:
        ValueError: for another power.
    """
    if power < 2 or power % 2:
        raise ValueError(f"at: power must be even and at least 2; got {power}")

    def loss(student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None) -> Array:
        losses = (features.attention_transfer(*maps, power=power) for maps in pair_feature_maps(student, teacher))
        return sum(losses, start=jnp.zeros(()))

    return from_loss(loss, needs_feature_maps=True)
