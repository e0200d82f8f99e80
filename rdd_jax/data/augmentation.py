"""The augmentation of training images, and normalisation: pure functions for the inside of a compiled step."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from rdd_jax.core.collectives import fold_into_keys
from rdd_jax.core.types import Array
from rdd_jax.data.erasing import random_erase
from rdd_jax.data.options import AugmentOptions
from rdd_jax.data.rand_augment import rand_augment

# Tell the keys of one augmentation from those of another.
_RAND_STREAM = 0x72616E64
_ERASE_STREAM = 0x65726173


class Normalize(Protocol):
    """The map from pixels to a network's input."""

    def __call__(self, images: Array, /) -> Array:
        """Returns f32[b,h,w,c] of images uint8[b,h,w,c]."""


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
    # another, so that an augmented image has the same bits in all.
    middle, scale = 255 * np.asarray(mean, np.float64), 1 / (255 * np.asarray(std, np.float64))
    return ((images.astype(jnp.float32) - middle.astype(np.float32)) * scale.astype(np.float32)).astype(dtype)


def num_augmentations(pad: int, flip: bool) -> int:
    """Returns the number of distinct augmentations: (2 * pad + 1)**2 crops, and twice that with flips."""
    return (2 * pad + 1) ** 2 * (2 if flip else 1)


def sample_augmentations(keys: Array, *, pad: int, flip: bool) -> Array:
    """Draws an augmentation for each image; all are equally likely.

    The draw depends on the image's own key alone, so a batch split over devices is augmented as the whole batch is.

    Args:
        keys: typed PRNG keys [b].
        pad: as of `crop_and_flip`.
        flip: as of `crop_and_flip`.

    Returns:
        i32[b] in [0, num_augmentations(pad, flip)).

    Raises:
        ValueError: if pad is negative or the keys are not typed.
    """
    if pad < 0:
        raise ValueError(f"pad must not be negative, not {pad}")
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise ValueError(f"typed keys are needed, not {keys.dtype}{keys.shape}")
    # One draw from all augmentations, not one each for row, column and flip: a third of the random bits.
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, num_augmentations(pad, flip)))(keys)


def crop_and_flip(images: Array, augmentations: Array, *, pad: int, flip: bool) -> Array:
    """Pads each image with zeros, crops it back to its size, and mirrors some left to right.

    Args:
        images: uint8[b,h,w,c], before normalisation, so that the padding is black.
        augmentations: i32[b], as `sample_augmentations` draws them for the same pad and flip. With pad=0 and flip=False
            there is only one, the image itself.
        pad: pixels added on each side before the crop.
        flip: whether some augmentations are mirrored.

    Returns:
        uint8[b,h,w,c].

    Raises:
        ValueError: if pad is negative or there is not one augmentation per image.
    """
    if pad < 0:
        raise ValueError(f"pad must not be negative, not {pad}")
    if augmentations.shape != images.shape[:1]:
        raise ValueError(f"one augmentation per image is needed: {augmentations.shape} for images {images.shape}")
    if num_augmentations(pad, flip) == 1:
        return images

    grid = (2 * pad + 1, 2 * pad + 1, 2 if flip else 1)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def cut(padded_image: Array, augmentation: Array) -> Array:
        top, left, mirrored = jnp.unravel_index(augmentation, grid)
        crop = jax.lax.dynamic_slice(padded_image, (top, left, 0), images.shape[1:])
        return jnp.where(mirrored, crop[:, ::-1], crop)

    return jax.vmap(cut)(padded, augmentations)


class Augmentation(NamedTuple):
    """The augmentation of single images in one configuration, with normalisation.

    The order is that of torchvision's reference training: crop and flip, RandAugment, normalisation, erasing.

    options: of the configuration; `resized_crop`, `mixup` and `cutmix` are done elsewhere.
    normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
    """

    options: AugmentOptions
    normalize: Normalize

    @property
    def num_augmentations(self) -> int:
        """The number of distinct crops and flips of an image."""
        return num_augmentations(self.options.pad, self.options.flip)

    def sample(self, keys: Array) -> Array:
        """Draws a crop and a flip, i32[b] in [0, num_augmentations), for each typed key [b]."""
        return sample_augmentations(keys, pad=self.options.pad, flip=self.options.flip)

    def apply(self, images: Array, augmentations: Array) -> Array:
        """Returns f32[b,h,w,c]: the crops and flips i32[b] of images uint8[b,h,w,c], normalised."""
        return self.normalize(self._crop_and_flip(images, augmentations))

    def __call__(self, images: Array, keys: Array) -> Array:
        """Returns f32[b,h,w,c]: images uint8[b,h,w,c], each augmented at random by its key [b] and normalised."""
        options = self.options
        images = self._crop_and_flip(images, self.sample(keys))
        if options.rand_ops:
            images = rand_augment(
                images,
                fold_into_keys(keys, _RAND_STREAM),
                operations=options.rand_ops,
                magnitude=options.rand_magnitude,
            )
        images = self.normalize(images)
        return random_erase(images, fold_into_keys(keys, _ERASE_STREAM), options.erase) if options.erase else images

    def _crop_and_flip(self, images: Array, augmentations: Array) -> Array:
        return crop_and_flip(images, augmentations, pad=self.options.pad, flip=self.options.flip)
