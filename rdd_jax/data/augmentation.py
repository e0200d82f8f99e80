"""Augmentation and normalisation on the device: pure functions for the inside of a jitted step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from rdd_jax.core.types import Array


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
    # A difference and then a product: nothing that a compiler may fuse into a multiply-add in one program and not in
    # another, so that a view has the same bits in all.
    middle, scale = 255 * np.asarray(mean, np.float64), 1 / (255 * np.asarray(std, np.float64))
    return ((images.astype(jnp.float32) - middle.astype(np.float32)) * scale.astype(np.float32)).astype(dtype)


def num_views(pad: int, flip: bool) -> int:
    """How many views an image has: (2 * pad + 1)**2 places of the crop, twice that with mirroring."""
    return (2 * pad + 1) ** 2 * (2 if flip else 1)


def draw_views(keys: Array, *, pad: int, flip: bool) -> Array:
    """Draws a view, i32[b] in [0, num_views), for each typed PRNG key [b]; all are equally likely.

    The draw depends on the image's own key alone, so a batch split over devices is augmented as the whole batch is.

    Raises:
        ValueError: if pad is negative or the keys are not typed.
    """
    if pad < 0:
        raise ValueError(f"pad must not be negative, not {pad}")
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise ValueError(f"typed keys are needed, not {keys.dtype}{keys.shape}")
    # One draw from all the views, and not one each for row, column and mirror: a third of the random bits.
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, num_views(pad, flip)))(keys)


def crop_and_flip(images: Array, views: Array, *, pad: int, flip: bool) -> Array:
    """Returns that view of each image: zero-padded, cropped back to its size and perhaps mirrored left to right.

    Args:
        images: uint8[b,h,w,c], before normalisation, so that the padding is black.
        views: i32[b], as `draw_views` draws them for the same pad and flip. With pad=0 and flip=False there is but
            one, the image as it is.
        pad: pixels added on each side before the crop.
        flip: whether there are mirrored views.

    Returns:
        uint8[b,h,w,c].

    Raises:
        ValueError: if pad is negative or there is not one view per image.
    """
    if pad < 0:
        raise ValueError(f"pad must not be negative, not {pad}")
    if views.shape != images.shape[:1]:
        raise ValueError(f"one view per image is needed: {views.shape} for images {images.shape}")
    if num_views(pad, flip) == 1:
        return images

    grid = (2 * pad + 1, 2 * pad + 1, 2 if flip else 1)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def cut(padded_image: Array, view: Array) -> Array:
        top, left, mirrored = jnp.unravel_index(view, grid)
        crop = jax.lax.dynamic_slice(padded_image, (top, left, 0), images.shape[1:])
        return jnp.where(mirrored, crop[:, ::-1], crop)

    return jax.vmap(cut)(padded, views)


class Views(NamedTuple):
    """What training shows of an image: which views there are, and how a network is given one.

    normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
    """

    pad: int
    flip: bool
    normalize: Callable[[Array], Array]

    def draw(self, keys: Array) -> Array:
        """A random view, i32[b], for each key [b]."""
        return draw_views(keys, pad=self.pad, flip=self.flip)

    def show(self, images: Array, views: Array) -> Array:
        """f32[b,h,w,c], of images uint8[b,h,w,c] and views i32[b]."""
        return self.normalize(crop_and_flip(images, views, pad=self.pad, flip=self.flip))

    def show_random(self, images: Array, keys: Array) -> Array:
        """f32[b,h,w,c], of images uint8[b,h,w,c] and keys [b]."""
        return self.show(images, self.draw(keys))
