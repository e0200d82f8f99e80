"""Cutting images of any size to one: on the host, before they travel to the devices."""

import math

import numpy as np
from PIL import Image

_SCALE = (0.08, 1.0)  # Of the area that a random crop keeps.
_RATIO = (3 / 4, 4 / 3)  # Of its width to its height.
_TRIES = 10
_SHOWN = 224 / 256  # Of the shorter side, what the middle crop keeps.


def middle_crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of an image, as networks are evaluated on ImageNet: 224 of 256 pixels once the shorter side is that.

    Scaled and cut in one, so that sides need not be rounded to whole pixels in between.

    Args:
        image: uint8[h,w,c].
        size: height and width of the result.

    Returns:
        uint8[size,c].
    """
    height, width = image.shape[:2]
    scale = _SHOWN * min(height / size[0], width / size[1])
    return _resize(image, size, (height - scale * size[0]) / 2, (width - scale * size[1]) / 2, scale, scale)


def random_crop(image: np.ndarray, size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """A random part of an image (Szegedy et al. 2015): 8 to 100 % of its area, 3:4 to 4:3, scaled to one size.

    Args:
        image: uint8[h,w,c].
        size: height and width of the result.
        generator: what is drawn comes from it.

    Returns:
        uint8[size,c].
    """
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        area = generator.uniform(*_SCALE) * height * width
        ratio = math.exp(generator.uniform(*np.log(_RATIO)))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:  # A very long image: its middle, as square as allowed.
        rows = min(height, round(width / _RATIO[0]))
        columns = min(width, round(height * _RATIO[1]))
        return _resize(image, size, (height - rows) / 2, (width - columns) / 2, rows / size[0], columns / size[1])
    top, left = generator.integers(height - rows + 1), generator.integers(width - columns + 1)
    return _resize(image, size, top, left, rows / size[0], columns / size[1])


def _resize(
    image: np.ndarray, size: tuple[int, int], top: float, left: float, row_scale: float, column_scale: float
) -> np.ndarray:
    """`size` pixels, of so many of the image's each, from a corner on; each channel by itself, averaged bilinearly."""
    box = (left, top, left + column_scale * size[1], top + row_scale * size[0])
    channels = image.shape[2]
    pixels = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    return np.asarray(pixels.resize(size[::-1], Image.Resampling.BILINEAR, box=box)).reshape(*size, channels)
