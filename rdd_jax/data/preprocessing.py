"""The preprocessing of an exported network: from image files or pixels to its input."""

import os
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from PIL import Image

from rdd_jax.core.types import Array
from rdd_jax.data import augmentation, folders
from rdd_jax.data.resize import FILTERS, ResizeRule

_CHANNELS = {1: "gray", 3: "RGB"}


class Preprocessing(NamedTuple):
    """The two steps from an image of any size to a network's input, as student.json records them.

    `read` scales and crops one image on the host. `normalize` turns a batch of such pixels into the network's input.

    resize: scaling, cropping and the size of the result.
    mean, std: per channel, of pixels scaled to [0, 1]; one number for gray images, three for RGB.
    """

    resize: ResizeRule
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.resize.height, self.resize.width, len(self.mean)

    def read(self, image: str | os.PathLike[str] | Image.Image) -> np.ndarray:
        """Converts an image of any size to pixels of the network's size and channels, as in evaluation.

        Gray images become RGB where the network takes RGB. Transparency is dropped, and the orientation in EXIF data
        is ignored.

        Args:
            image: the path of a file, or an image of Pillow's.

        Returns:
            uint8[h,w,c].

        Raises:
            ValueError: if the file is missing, damaged or no image; if a channel has other than 8 bits; if the image
                is in colour and the network takes gray images.
        """
        rgb = folders.to_rgb(image) if isinstance(image, Image.Image) else folders.read_image(image)
        if len(self.mean) == 3:
            return self.resize.apply(rgb)
        first, *others = rgb.split()
        if any(channel.tobytes() != first.tobytes() for channel in others):
            raise ValueError("it is in colour, and the network takes gray images: convert it first")
        return self.resize.apply(first)

    def normalize(self, images: Array | np.ndarray) -> jax.Array:
        """Returns (images / 255 - mean) / std.

        Args:
            images: uint8[b,h,w,c].

        Returns:
            f32[b,h,w,c].

        Raises:
            ValueError: for another shape or dtype.
        """
        pixels: Any = images if hasattr(images, "dtype") else np.asarray(images)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != self.image_shape:
            wanted, found = ",".join(map(str, ("b", *self.image_shape))), ",".join(map(str, pixels.shape))
            raise ValueError(
                f"images must be uint8[{wanted}]; got {pixels.dtype}[{found}] (`read` scales a file or an image of "
                "Pillow's, and np.stack makes a batch)"
            )
        return augmentation.normalize(pixels, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """Returns the record in student.json."""
        return {
            "resize": self.resize._asdict(),
            "layout": "NHWC",
            "channels": _CHANNELS[len(self.mean)],
            "scale": 1 / 255,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Reads the record of `to_json`.

        Raises:
            LookupError, TypeError, ValueError: if the record is damaged.
        """
        mean, std = record["mean"], record["std"]
        preprocessing = cls(ResizeRule(**record["resize"]), tuple(mean), tuple(std))
        if record != preprocessing.to_json():
            raise ValueError("unknown preprocessing")
        if len(std) != len(mean) or not (np.isfinite([mean, std]).all() and min(std) > 0):
            raise ValueError("impossible mean or standard deviation")
        _check_resize(preprocessing.resize)
        return preprocessing


def _check_resize(rule: ResizeRule) -> None:
    """Raises TypeError or ValueError for a size, share or filter that no rule has."""
    if not all(isinstance(size, int) and size > 0 for size in (rule.height, rule.width)):
        raise ValueError(f"impossible size {rule.height} x {rule.width}")
    if not 0 < rule.crop_share <= 1 or rule.filter not in FILTERS:
        raise ValueError(f"impossible crop_share {rule.crop_share} or filter {rule.filter}")
