"""Images that need not fit into memory: read, resized and batched ahead of the devices.

The positions that are read, their order and the first update are arguments. A stream therefore has no state to save: a
run resumes in the middle of an epoch by asking for the remaining batches, and each process asks for its own rows.
"""

import contextlib
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from PIL import Image

from rdd_jax.core.errors import DataReadError
from rdd_jax.core.types import Array
from rdd_jax.data import crops
from rdd_jax.data.resize import ResizeRule
from rdd_jax.data.sources import Source
from rdd_jax.data.workers import read_batches, report_position


class Stream:
    """The images of a source, all of one shape. It can be indexed like an array uint8[n,h,w,c], but stores none.

    Args:
        source: of the images.
        image_shape: height, width and channels.
        rule: scales images to that height and width; None if all images have them already.
        resized_crop: whether training images are random crops, scaled; evaluation images never are.
        seed: of these crops.
        workers: the number of processes that read; 0 for threads of this process.
    """

    def __init__(
        self,
        source: Source,
        image_shape: tuple[int, int, int],
        *,
        rule: ResizeRule | None = None,
        resized_crop: bool = False,
        seed: int = 0,
        workers: int = 0,
    ):
        self._source = source
        self._image_shape = image_shape
        self._rule = rule
        self._resized_crop = resized_crop
        self._seed = seed
        self._workers = workers

    def __len__(self) -> int:
        return len(self._source)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the array: (n, height, width, channels)."""
        return (len(self), *self._image_shape)

    def __getitem__(self, chosen: slice | np.ndarray | Array) -> np.ndarray:
        """Reads some images as `evaluation_batches` does.

        Args:
            chosen: positions i[m], a mask bool[n], or a slice.

        Returns:
            uint8[m,h,w,c].

        Raises:
            DataReadError: where an image cannot be read.
        """
        positions = np.arange(len(self))[np.asarray(chosen) if not isinstance(chosen, slice) else chosen]
        images = np.empty((len(positions), *self._image_shape), np.uint8)
        with contextlib.closing(self.evaluation_batches(positions[:, None])) as batches:
            for row, batch in enumerate(batches):
                images[row] = batch[0]
        return images

    def evaluation_batches(self, positions: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yields batches uint8[b,h,w,c] of evaluation images.

        Args:
            positions: i32[batches,b]; the image is black where a position is negative.

        Raises:
            DataReadError: where an image cannot be read.
        """
        return read_batches(_RowReader(self._source, self._image_shape, self._rule, positions), self._workers)

    def train_batches(
        self, positions: np.ndarray, first_step: int, global_rows: np.ndarray
    ) -> Generator[np.ndarray, None, None]:
        """Yields batches uint8[b,h,w,c] of training images.

        Without `resized_crop` they are those of `evaluation_batches`.

        Args:
            positions: i32[steps,b].
            first_step: the update that takes the first batch.
            global_rows: i32[b], the rows of the global batch. A crop is keyed by (seed, update, row).

        Raises:
            DataReadError: where an image cannot be read.
        """
        keys = _CropKeys(self._seed, first_step, global_rows) if self._resized_crop else None
        reader = _RowReader(self._source, self._image_shape, self._rule, positions, keys)
        return read_batches(reader, self._workers)


class _CropKeys(NamedTuple):
    """The keys of random crops: a seed, the update of the first batch, and the rows i32[b] of the global batch."""

    seed: int
    first_step: int
    global_rows: np.ndarray


class _RowReader:
    """Reads, resizes and crops the image of one row; a `workers.ReadRow`.

    Args:
        source: of the images.
        image_shape: height, width and channels of the result.
        rule: scales the images; None if all have `image_shape` already.
        positions: i32[batches,b].
        crop_keys: the keys of random crops; None for no random crops.
    """

    def __init__(
        self,
        source: Source,
        image_shape: tuple[int, int, int],
        rule: ResizeRule | None,
        positions: np.ndarray,
        crop_keys: _CropKeys | None = None,
    ):
        self.positions = positions
        self._source, self._image_shape, self._rule, self._crop_keys = source, image_shape, rule, crop_keys

    def name(self, position: int) -> str:
        """See `workers.ReadRow`."""
        return self._source.name(position)

    def __call__(self, number: int) -> np.ndarray:
        """Returns row `number`, counted over all batches, uint8[h,w,c].

        Raises:
            DataReadError: where the image cannot be read.
        """
        batch, row = divmod(number, self.positions.shape[1])
        position = int(self.positions[batch, row])
        if position < 0:
            return np.zeros(self._image_shape, np.uint8)
        report_position(position)
        try:
            image = self._source[position]
            self._check_shape(image)
        except ValueError as error:
            raise DataReadError(
                f"{self.name(position)} cannot be read ({error}): replace it; run the same command again to resume"
            ) from error
        return self._resize(image, batch, row)

    def _check_shape(self, image: np.ndarray) -> None:
        height, width, channels = self._image_shape
        if image.ndim != 3 or image.shape[2] != channels:
            raise ValueError(f"its shape is {image.shape}, and {channels} channels are expected")
        if not self._rule and image.shape[:2] != (height, width):
            found = "{1} x {0}".format(*image.shape)
            raise ValueError(f"it has {found} pixels, the first image has {width} x {height}, and data.image_size is 0")

    def _resize(self, image: np.ndarray, batch: int, row: int) -> np.ndarray:
        height, width, _ = self._image_shape
        rule = self._rule or ResizeRule(height, width)
        if self._crop_keys:
            seed, first_step, global_rows = self._crop_keys
            generator = np.random.default_rng([seed, first_step + batch, global_rows[row]])
            return crops.random_crop(_to_pillow(image), rule, generator)
        return image if image.shape == self._image_shape else rule.apply(_to_pillow(image))


def _to_pillow(image: np.ndarray) -> Image.Image:
    """Converts uint8[h,w,c] of 1 or 3 channels."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
