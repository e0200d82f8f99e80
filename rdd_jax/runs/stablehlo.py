"""A trained network as StableHLO: one file with the weights in it, which JAX runs without this package."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from rdd_jax.data.preprocessing import Preprocessing

PLATFORMS = ("cpu", "cuda", "tpu")


def serialize(model: nn.Module, variables: dict[str, Any], preprocessing: Preprocessing) -> bytes:
    """Serializes a network for `jax.export.deserialize`, for all of PLATFORMS wherever this runs.

    What is serialized maps pixels uint8[b,h,w,c], with any b, to logits f32[b,classes]: the normalisation is part of
    it, the scaling of images to h x w is not.

    Args:
        model: its `apply` returns a ModelOutput.
        variables: {"params", "batch_stats"}.
        preprocessing: of which `image_shape` and `normalize` are used.
    """
    # Arrays on the host: those on devices would tie the result to so many devices.
    constants = jax.tree.map(np.asarray, variables)

    @jax.jit
    def logits(images):
        return model.apply(constants, preprocessing.normalize(images), train=False)[0]

    height, width, channels = preprocessing.image_shape
    images = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {height}, {width}, {channels}"), jnp.uint8)
    return bytes(export.export(logits, platforms=PLATFORMS)(images).serialize())
