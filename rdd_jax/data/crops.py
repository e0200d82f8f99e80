"""Random crops of images of any size, on the host."""

import math

import numpy as np
from PIL import Image

from rdd_jax.data.resize import ResizeRule, resample

_SCALE = (0.08, 1.0)  # The range of the crop's area, as a share of the image's.
_RATIO = (3 / 4, 4 / 3)  # The range of the crop's width divided by its height.
_TRIES = 10


def random_crop(image: Image.Image, rule: ResizeRule, generator: np.random.Generator) -> np.ndarray:
    """Crops a random part of an image and scales it to one size (Szegedy et al. 2015).

    The part has 8 to 100 % of the image's area and an aspect ratio from 3:4 to 4:3.

    Args:
        image: of mode "L" or "RGB".
        rule: the size of the result, and the filter.
        generator: draws the part.

    Returns:
        uint8[height,width,c].
    """
    height, width = image.height, image.width
    for _ in range(_TRIES):
        area = generator.uniform(*_SCALE) * height * width
        ratio = math.exp(generator.uniform(*np.log(_RATIO)))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:  # In a very long image: the widest allowed crop of the middle.
        rows = min(height, round(width / _RATIO[0]))
        columns = min(width, round(height * _RATIO[1]))
        return resample(image, rule, (height - rows) / 2, (width - columns) / 2, rows, columns)
    top, left = int(generator.integers(height - rows + 1)), int(generator.integers(width - columns + 1))
    return resample(image, rule, top, left, rows, columns)
