"""RandAugment (Cubuk et al. 2020) on the device, with the operations and the magnitudes of torchvision.

Each operation computes what Pillow does, to one level of 255. Geometric operations take the nearest pixel and fill with
black, as torchvision does by default.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

MAX_MAGNITUDE = 30
_FIXED = 1 << 16  # Coordinates are integers in units of 2**-16 pixels, as Pillow's: without rounding by the compiler.


def rand_augment(images: Array, keys: Array, *, operations: int, magnitude: int) -> Array:
    """Applies random operations to each image, one after the other.

    Each is drawn from `OPERATIONS`, all equally likely. The level of one that has a sign is negative with probability
    1/2.

    Args:
        images: uint8[b,h,w,c] with 1 or 3 channels.
        keys: typed PRNG keys [b], of which each image's operations are a function.
        operations: the number of operations for each image.
        magnitude: of all operations, in [0, MAX_MAGNITUDE].

    Returns:
        uint8[b,h,w,c].

    Raises:
        ValueError: if the magnitude is out of range, or the images are not uint8[b,h,w,1] or [b,h,w,3].
    """
    if not 0 <= magnitude <= MAX_MAGNITUDE:
        raise ValueError(f"magnitude must be in [0, {MAX_MAGNITUDE}], not {magnitude}")
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be uint8[b,h,w,1] or uint8[b,h,w,3], not {images.dtype}{images.shape}")
    table = OPERATIONS.values()
    levels = jnp.array([operation.strongest * magnitude / MAX_MAGNITUDE for operation in table], jnp.float32)
    has_sign = jnp.array([operation.has_sign for operation in table])

    def apply_one(image: Array, key: Array) -> tuple[Array, None]:
        chosen, is_negative = jnp.divmod(jax.random.randint(key, (), 0, 2 * len(table)), 2)
        level = jnp.where(has_sign[chosen] & (is_negative == 1), -levels[chosen], levels[chosen])
        return jax.lax.switch(chosen, [operation.apply for operation in table], image, level), None

    def apply_all(image: Array, key: Array) -> Array:
        return jax.lax.scan(apply_one, image, jax.random.split(key, operations))[0]

    return jax.vmap(apply_all)(images, keys)


class Operation(NamedTuple):
    """An operation of RandAugment.

    apply: (image uint8[h,w,c], level f32[]) -> uint8[h,w,c].
    strongest: the level at the largest magnitude; smaller magnitudes are in proportion.
    has_sign: whether the level may be negative.
    """

    apply: Callable[[Array, Array], Array]
    strongest: float = 0.0
    has_sign: bool = False


def _warp(image: Array, matrix: tuple[Array | float, ...]) -> Array:
    """Moves pixels by an affine map, as `PIL.Image.transform` with the nearest pixel; outside the image is black.

    Args:
        image: uint8[h,w,c].
        matrix: (a, b, c, d, e, f); the pixel at (x, y) of the result is that at (a*x + b*y + c, d*x + e*y + f).
    """
    height, width, _ = image.shape
    a, b, c, d, e, f = (jnp.asarray(entry, jnp.float32) for entry in matrix)

    def fixed(value: Array) -> Array:
        return jnp.floor(value * _FIXED + 0.5).astype(jnp.int32)

    y, x = jnp.mgrid[:height, :width]
    # The centre of pixel (x, y) is at (x + 0.5, y + 0.5).
    columns = (fixed(a) * x + fixed(b) * y + fixed(c + 0.5 * a + 0.5 * b)) // _FIXED
    rows = (fixed(d) * x + fixed(e) * y + fixed(f + 0.5 * d + 0.5 * e)) // _FIXED
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return jnp.where(inside[..., None], image[rows, columns], 0)


def _shear_x(image: Array, level: Array) -> Array:
    return _warp(image, (1, level, 0, 0, 1, 0))


def _shear_y(image: Array, level: Array) -> Array:
    return _warp(image, (1, 0, 0, level, 1, 0))


def _translate_x(image: Array, level: Array) -> Array:
    """Moves the image to the left by a share of its width, in whole pixels."""
    return _warp(image, (1, 0, jnp.trunc(level * image.shape[1]), 0, 1, 0))


def _translate_y(image: Array, level: Array) -> Array:
    """Moves the image up by a share of its height, in whole pixels."""
    return _warp(image, (1, 0, 0, 0, 1, jnp.trunc(level * image.shape[0])))


def _rotate(image: Array, level: Array) -> Array:
    """Rotates the image about its centre by an angle in degrees, counter-clockwise."""
    y, x = image.shape[0] / 2, image.shape[1] / 2
    cosine, sine = jnp.cos(jnp.radians(level)), jnp.sin(jnp.radians(level))
    return _warp(image, (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y))


def _blend(degenerate: Array | float, image: Array, level: Array) -> Array:
    """Returns the image for level 0, the degenerate image f32[h,w,c] for -1, and extrapolates above 0."""
    blended = degenerate + (1 + level) * (image - degenerate)
    return jnp.clip(blended, 0, 255).astype(jnp.uint8)


def _luminance(image: Array) -> Array:
    """Returns the gray image f32[h,w,1] by ITU-R 601-2, as `PIL.Image.convert("L")`."""
    if image.shape[-1] == 1:
        return image.astype(jnp.float32)
    weights = jnp.array([19595, 38470, 7471])  # Of 2**16.
    gray = (jnp.sum(image * weights, axis=-1, keepdims=True) + (1 << 15)) >> 16
    return gray.astype(jnp.float32)


def _brightness(image: Array, level: Array) -> Array:
    return _blend(0.0, image.astype(jnp.float32), level)


def _color(image: Array, level: Array) -> Array:
    return _blend(_luminance(image), image.astype(jnp.float32), level)


def _contrast(image: Array, level: Array) -> Array:
    mean = jnp.floor(jnp.mean(_luminance(image)) + 0.5)
    return _blend(mean, image.astype(jnp.float32), level)


def _sharpness(image: Array, level: Array) -> Array:
    """Blends the image with its smoothed version (`PIL.ImageFilter.SMOOTH`); the border is not smoothed."""
    height, width, _ = image.shape
    pixels = image.astype(jnp.float32)
    around = sum(pixels[top : top + height - 2, left : left + width - 2] for top in range(3) for left in range(3))
    smoothed = jnp.floor((around + 4 * pixels[1:-1, 1:-1]) / 13 + 0.5)
    return _blend(pixels.at[1:-1, 1:-1].set(smoothed), pixels, level)


def _posterize(image: Array, level: Array) -> Array:
    """Sets the lowest bits of each value to 0, `level` of them."""
    cleared = jnp.round(level).astype(jnp.uint8)
    return (image >> cleared) << cleared


def _solarize(image: Array, level: Array) -> Array:
    """Inverts the values from 255 - level on."""
    return jnp.where(image < 255 - level, image, 255 - image)


def _autocontrast(image: Array, level: Array) -> Array:
    """Stretches each channel to the values from 0 to 255."""
    pixels = image.astype(jnp.int32)
    low, high = pixels.min((0, 1)), pixels.max((0, 1))
    stretched = 255 * (pixels - low) // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, pixels).astype(jnp.uint8)


def _equalize(image: Array, level: Array) -> Array:
    """Equalizes the histogram of each channel, as `PIL.ImageOps.equalize`."""

    def equalized(channel: Array) -> Array:
        counts = jnp.bincount(channel.ravel(), length=256)
        step = (channel.size - counts[channel.max()]) // 255
        table = jnp.minimum((step // 2 + jnp.cumsum(counts) - counts) // jnp.maximum(step, 1), 255)
        return jnp.where(step > 0, table.astype(jnp.uint8)[channel], channel)

    return jax.vmap(equalized, in_axes=-1, out_axes=-1)(image)


OPERATIONS: dict[str, Operation] = {
    "identity": Operation(lambda image, level: image),
    "shear_x": Operation(_shear_x, 0.3, has_sign=True),
    "shear_y": Operation(_shear_y, 0.3, has_sign=True),
    "translate_x": Operation(_translate_x, 150 / 331, has_sign=True),
    "translate_y": Operation(_translate_y, 150 / 331, has_sign=True),
    "rotate": Operation(_rotate, 30.0, has_sign=True),
    "brightness": Operation(_brightness, 0.9, has_sign=True),
    "color": Operation(_color, 0.9, has_sign=True),
    "contrast": Operation(_contrast, 0.9, has_sign=True),
    "sharpness": Operation(_sharpness, 0.9, has_sign=True),
    "posterize": Operation(_posterize, 4.0),
    "solarize": Operation(_solarize, 255.0),
    "autocontrast": Operation(_autocontrast),
    "equalize": Operation(_equalize),
}
