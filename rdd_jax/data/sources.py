"""Images that are read one at a time: from arrays, from TFDS's records, from a folder of files."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from rdd_jax.data import prepared
from rdd_jax.errors import UserError

# Of Pillow: with 8 bits a channel, or a palette of such.
_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))
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

    def __init__(self, folder: Path, split: str, size: int, cache_dir: Path):
        self._folder, self._split, self._size, self._cache_dir = folder, split, size, cache_dir

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_examples"}

    @functools.cached_property
    def _examples(self) -> Sequence[dict[str, Any]]:
        return prepared.open_split(self._folder, self._split)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> np.ndarray:
        return self._examples[int(position)]["image"]

    def labels(self) -> np.ndarray:
        """See `Source`. The first time all records are read, without decoding the images.

        Raises:
            UserError: where they cannot be.
        """
        return prepared.read_labels(self._folder, self._split, self._size, self._cache_dir)

    def name(self, position: int) -> str:
        """See `Source`."""
        return f"image {position} of the split {self._split} in {self._folder}"


class Files:
    """The image files of a folder with one folder for each class, in the order of their paths, as RGB."""

    def __init__(self, folder: Path, class_names: tuple[str, ...]):
        self.paths, labels = [], []  # Of str, which travel to other processes ten times as fast as Path.
        for label, class_name in enumerate(class_names):
            paths = sorted(_image_files(folder / class_name))
            if not paths:
                suffixes = ", ".join(sorted(_SUFFIXES))
                raise UserError(
                    f"{folder / class_name} holds no images ({suffixes}): put some there, or leave that class out"
                )
            self.paths += paths
            labels += len(paths) * [label]
        self._labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> np.ndarray:
        with Image.open(self.paths[position]) as image:
            if image.mode not in _MODES:
                raise ValueError(f"its pixels are {image.mode}, and 8 bits a channel are expected")
            return np.asarray(image.convert("RGB"))

    def labels(self) -> np.ndarray:
        """See `Source`."""
        return self._labels

    def name(self, position: int) -> str:
        """See `Source`."""
        return self.paths[position]


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


def _image_files(folder: Path) -> Iterator[str]:
    """The images in a folder and in those within it; what is hidden is left out, links are followed."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): give this program the right to")

    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES and os.path.isfile(path):
                yield path


def class_folders(folder: Path) -> tuple[str, ...]:
    """The classes of a folder of images: the names of the folders in it, in alphabetical order."""
    return tuple(sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")))
