"""Random erasing (Zhong et al. 2020) on the device."""

import math

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

_AREA = (0.02, 0.33)  # The range of the rectangle's area, as a share of the image's.
_RATIO = (0.3, 3.3)  # The range of its height divided by its width, drawn on a logarithmic scale.


def random_erase(images: Array, keys: Array, probability: float) -> Array:
    """Sets a random rectangle of some images to 0, which is the mean of normalised images.

    The rectangle has 2 to 33 % of the image's area and an aspect ratio from 0.3 to 3.3. A side that would be longer
    than the image's is cut to it.

    Args:
        images: f32[b,h,w,c], normalised.
        keys: typed PRNG keys [b], of which each image's rectangle is a function.
        probability: that an image has a rectangle, in [0, 1].

    Returns:
        f32[b,h,w,c].
    """
    height, width = images.shape[1:3]

    def erased(key: Array) -> Array:
        key, is_erased_key = jax.random.split(key)
        area, ratio, top, left = jax.random.uniform(key, (4,))
        area = (_AREA[0] + area * (_AREA[1] - _AREA[0])) * height * width
        ratio = jnp.exp(math.log(_RATIO[0]) + ratio * math.log(_RATIO[1] / _RATIO[0]))
        rows = jnp.minimum(jnp.round(jnp.sqrt(area * ratio)), height)
        columns = jnp.minimum(jnp.round(jnp.sqrt(area / ratio)), width)
        # Uniform over the height - rows + 1 places.
        top, left = jnp.floor(top * (height - rows + 1)), jnp.floor(left * (width - columns + 1))
        inside = rectangle((height, width), top, left, rows, columns)
        return inside & jax.random.bernoulli(is_erased_key, probability)

    return jnp.where(jax.vmap(erased)(keys)[..., None], 0.0, images)


def rectangle(shape: tuple[int, int], top: Array, left: Array, rows: Array, columns: Array) -> Array:
    """Returns the mask bool[height,width] of a rectangle, of which parts may lie outside of the image.

    Args:
        shape: height and width of the image.
        top: the first row, a scalar.
        left: the first column.
        rows: the rectangle's height.
        columns: its width.
    """
    y, x = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])
    return (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)
