"""Images that are read one at a time: from arrays and from TFDS's records (`folders.Files`: from image files)."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rdd_jax.data import tfds


class Source(Protocol):
    """Images in a fixed order, which several threads, and pickled copies in other processes, may read at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> np.ndarray:
        """Decodes one image, uint8[h,w,c]; images may differ in height and width.

        Raises:
            ValueError: where it cannot be read.
        """

    def labels(self) -> np.ndarray:
        """i32[n], of all images."""

    def name(self, position: int) -> str:
        """What errors call the image, such as the path of its file."""


class Arrays:
    """Images that are in memory already: uint8[n,h,w,c], labels i32[n]."""

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


class Records:
    """One split of a data set that TFDS has prepared as array_record files, in `folder`."""

    def __init__(self, folder: Path, split: str, size: int, cache_dir: Path):
        self._folder, self._split, self._size, self._cache_dir = folder, split, size, cache_dir

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_examples"}

    @functools.cached_property
    def _examples(self) -> Sequence[dict[str, Any]]:
        return tfds.open_split(self._folder, self._split)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> np.ndarray:
        try:
            return self._examples[int(position)]["image"]
        except tfds.DAMAGE as error:
            raise ValueError(str(error)) from error

    def labels(self) -> np.ndarray:
        """See `Source`. The first time all records are read, without decoding the images.

        Raises:
            UserError: where they cannot be.
        """
        return tfds.read_labels(self._folder, self._split, self._size, self._cache_dir)

    def name(self, position: int) -> str:
        """See `Source`."""
        return f"image {position} of the split {self._split} in {self._folder}"


class Chosen:
    """Some of another source's images, at `positions` i32[n] there, with labels i32[n] of their own."""

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
