"""Sources of images that are read one at a time, from arrays and TFDS records; `folders` has that of image files."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rdd_jax.data import tfds


class Source(Protocol):
    """Labelled images in a fixed order. Several threads, and pickled copies in other processes, may read at once."""

    def __len__(self) -> int:
        """Returns the number of images."""

    def __getitem__(self, position: int) -> np.ndarray:
        """Decodes one image, uint8[h,w,c]. Images may differ in height and width.

        Raises:
            ValueError: if the image cannot be read.
        """

    def labels(self) -> np.ndarray:
        """Returns the labels of all images, i32[n]."""

    def name(self, position: int) -> str:
        """Returns the name of an image for error messages, such as the path of its file."""


class ArraySource:
    """Images that are in memory.

    Args:
        title: names the images in error messages.
        images: uint8[n,h,w,c].
        labels: i32[n].
    """

    def __init__(self, title: str, images: np.ndarray, labels: np.ndarray):
        self._title, self._images, self._labels = title, images, labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, position: int) -> np.ndarray:
        return self._images[position]

    def labels(self) -> np.ndarray:
        """See `Source`."""
        return self._labels

    def name(self, position: int) -> str:
        """See `Source`."""
        return f"image {position} of {self._title}"


class RecordSource:
    """One split of a data set that TFDS has prepared as array_record files.

    Args:
        folder: holds the files.
        split: the name of the split.
        size: the number of images in the split.
        cache_dir: the folder in which the labels are cached.
    """

    def __init__(self, folder: Path, split: str, size: int, cache_dir: Path):
        self._folder, self._split, self._size, self._cache_dir = folder, split, size, cache_dir

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_examples"}

    @functools.cached_property
    def _examples(self) -> Sequence[Mapping[str, Any]]:
        return tfds.open_split(self._folder, self._split)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> np.ndarray:
        try:
            return self._examples[int(position)]["image"]
        except tfds.READ_ERRORS as error:
            raise ValueError(str(error)) from error

    def labels(self) -> np.ndarray:
        """See `Source`. The first call reads all records, without decoding the images; later calls read a cache.

        Raises:
            UserError: if the records cannot be read.
        """
        return tfds.read_labels(self._folder, self._split, self._size, self._cache_dir)

    def name(self, position: int) -> str:
        """See `Source`."""
        return f"image {position} of the split {self._split} in {self._folder}"


class Subset:
    """A subset of another source, with labels of its own.

    Args:
        source: the other source.
        positions: i32[n], positions in `source`.
        labels: i32[n].
    """

    def __init__(self, source: Source, positions: np.ndarray, labels: np.ndarray):
        self._source, self._positions, self._labels = source, positions, labels

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int) -> np.ndarray:
        return self._source[self._positions[position]]

    def labels(self) -> np.ndarray:
        """See `Source`."""
        return self._labels

    def name(self, position: int) -> str:
        """See `Source`."""
        return self._source.name(self._positions[position])
