"""Augmentation and normalisation on the device: pure functions for the inside of a jitted step."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.types import Array


def normalize(images: Array, mean: Sequence[float], std: Sequence[float], dtype: DTypeLike = jnp.float32) -> Array:
    """Returns (images / 255 - mean) / std.

    Args:
        images: uint8[b,h,w,c].
        mean: per channel, of pixels scaled to [0, 1].
        std: likewise.
        dtype: of the result; the arithmetic is float32 whatever it is.

    Returns:
        dtype[b,h,w,c].
    """
    scaled = images.astype(jnp.float32) / 255
    return ((scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)).astype(dtype)


def crop_and_flip(images: Array, keys: Array, *, pad: int, flip: bool) -> Array:
    """Returns one random view of each image: zero-padded, cropped back to its size and mirrored half of the time.

    An image has (2 * pad + 1)**2 views, twice as many with `flip`, all equally likely. Which one is drawn depends on
    the image's own key alone, so a batch split over devices is augmented as the whole batch is. With pad=0 and
    flip=False the images come back as they are.

    Args:
        images: uint8[b,h,w,c], before normalisation, so that the padding is black.
        keys: typed PRNG keys [b], one per image.
        pad: pixels added on each side before the crop.
        flip: whether to mirror left to right with probability one half.

    Returns:
        uint8[b,h,w,c].

    Raises:
        ValueError: if pad is negative or there is not one typed key per image.
    """
    if pad < 0:
        raise ValueError(f"pad must not be negative, not {pad}")
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.shape != images.shape[:1]:
        raise ValueError(f"one typed key per image is needed: {keys.dtype}{keys.shape} for images {images.shape}")
    if pad == 0 and not flip:
        return images

    offsets = 2 * pad + 1
    grid = (offsets, offsets, 2 if flip else 1)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def view(padded_image: Array, key: Array) -> Array:
        # One draw from all the views, and not one each for row, column and mirror: a third of the random bits.
        top, left, mirrored = jnp.unravel_index(jax.random.randint(key, (), 0, grid[0] * grid[1] * grid[2]), grid)
        crop = jax.lax.dynamic_slice(padded_image, (top, left, 0), images.shape[1:])
        return jnp.where(mirrored, crop[:, ::-1], crop)

    return jax.vmap(view)(padded, keys)
