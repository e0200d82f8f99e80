"""Scaling and cropping of images to one size, the same in training, evaluation and prediction."""

from typing import NamedTuple

import numpy as np
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR}
# ImageNet's practice: 224 of 256 pixels. Smaller images show their subject up to the edge.
_IMAGENET_SHARE, _IMAGENET_FROM = 0.875, 128


class ResizeRule(NamedTuple):
    """A deterministic map from an image of any size to `height` x `width` pixels.

    The image is scaled, keeping its proportions, until the target covers `crop_share` of the side that limits it, and
    the centre is cut out. With crop_share=1.0 a square target keeps the whole shorter side; with 0.875 and 224 pixels
    it is the usual "shorter side to 256, centre crop of 224". An image of the target's size is returned unchanged,
    whatever `crop_share` is.

    `_asdict()` holds plain numbers and text, for JSON, and `ResizeRule(**fields)` reads it back.

    height, width: of the result, in pixels.
    crop_share: in (0, 1].
    filter: a key of FILTERS. Pillow's filters average over all source pixels when they shrink an image.
    """

    height: int
    width: int
    crop_share: float = 1.0
    filter: str = "bilinear"

    def apply(self, image: Image.Image) -> np.ndarray:
        """Returns the image as uint8[height,width,c].

        Args:
            image: of mode "L" (c = 1) or "RGB" (c = 3).

        Raises:
            ValueError: for another mode.
        """
        if image.mode not in ("L", "RGB"):
            raise ValueError(f'the image must be of mode "L" or "RGB", not "{image.mode}"')
        if image.size == (self.width, self.height):
            return np.array(image).reshape(self.height, self.width, -1)
        # Scaled and cut in one, so that no side has to be rounded to whole pixels in between.
        scale = self.crop_share * min(image.height / self.height, image.width / self.width)
        rows, columns = scale * self.height, scale * self.width
        return resample(image, self, (image.height - rows) / 2, (image.width - columns) / 2, rows, columns)


def resample(image: Image.Image, rule: ResizeRule, top: float, left: float, rows: float, columns: float) -> np.ndarray:
    """Scales a rectangle of the image to the rule's size by the rule's filter, each channel by itself.

    Args:
        image: of mode "L" or "RGB".
        rule: of which height, width and filter are used.
        top, left: the rectangle's corner, in pixels; fractions are allowed.
        rows, columns: its height and width, in pixels.

    Returns:
        uint8[height,width,c].
    """
    box = (left, top, left + columns, top + rows)
    scaled = image.resize((rule.width, rule.height), FILTERS[rule.filter], box=box)
    return np.array(scaled).reshape(rule.height, rule.width, -1)


def usual_crop_share(height: int, width: int) -> float:
    """Returns 0.875 for images of 128 pixels and more, as ImageNet is evaluated, and 1.0 for smaller ones."""
    return _IMAGENET_SHARE if min(height, width) >= _IMAGENET_FROM else 1.0
