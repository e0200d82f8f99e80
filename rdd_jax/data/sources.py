"""Images that are read one at a time: from arrays, from TFDS's records, from a folder of files."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from rdd_jax.data import prepared
from rdd_jax.errors import UserError

_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


class Source(Protocol):
    """Images in a fixed order, which several threads, and pickled copies in other processes, may read at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> np.ndarray:
        """uint8[h,w,c]; images may differ in height and width."""

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

    def __init__(self, folder: Path, split: str, labels_cache: Path):
        self._folder, self._split, self._labels_cache = folder, split, labels_cache

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_examples"}

    @functools.cached_property
    def _examples(self) -> Sequence[dict[str, Any]]:
        return prepared.open_split(self._folder, self._split)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, position: int) -> np.ndarray:
        return self._examples[int(position)]["image"]

    def labels(self) -> np.ndarray:
        """See `Source`. The first time all records are read, without decoding the images."""
        return prepared.read_labels(self._folder, self._split, self._labels_cache)

    def name(self, position: int) -> str:
        """See `Source`."""
        return f"image {position} of the split {self._split} in {self._folder}"


class Files:
    """The image files of a folder with one folder for each class, in the order of their paths, as RGB."""

    def __init__(self, folder: Path, class_names: tuple[str, ...]):
        self._paths, labels = [], []
        for label, class_name in enumerate(class_names):
            paths = sorted(path for path in (folder / class_name).rglob("*") if path.suffix.lower() in _SUFFIXES)
            if not paths:
                raise UserError(f"{folder / class_name} holds no images ({', '.join(sorted(_SUFFIXES))}): remove it")
            self._paths += paths
            labels += len(paths) * [label]
        self._labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, position: int) -> np.ndarray:
        with Image.open(self._paths[position]) as image:
            return np.asarray(image.convert("RGB"))

    def labels(self) -> np.ndarray:
        """See `Source`."""
        return self._labels

    def name(self, position: int) -> str:
        """See `Source`."""
        return str(self._paths[position])


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


def class_folders(folder: Path) -> tuple[str, ...]:
    """The classes of a folder of images: the names of the folders in it, in alphabetical order."""
    return tuple(sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")))
