"""A trained network as StableHLO: one file with its weights, which JAX runs without this package."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from rdd_jax.core.types import Array
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.models import Network

PLATFORMS = ("cpu", "cuda", "tpu")


def serialize(network: Network, variables: dict[str, Any], preprocessing: Preprocessing) -> bytes:
    """Serialises a network for `jax.export.deserialize`, for all of PLATFORMS.

    The serialised function maps images uint8[b,h,w,c], for any b, to logits f32[b,classes]. It includes the
    normalisation of the images, but not their scaling to h x w.

    Args:
        network: the network.
        variables: its variables.
        preprocessing: its `image_shape` and `normalize` are used.

    Returns:
        The content of the file.
    """
    # Arrays on the host: arrays on devices would tie the result to their number.
    constants = jax.tree.map(np.asarray, variables)

    @jax.jit
    def logits(images: Array) -> Array:
        return network.apply(constants, preprocessing.normalize(images), train=False)[0].logits

    height, width, channels = preprocessing.image_shape
    images = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {height}, {width}, {channels}"), jnp.uint8)
    return bytes(export.export(logits, platforms=PLATFORMS)(images).serialize())
