"""Image files in one folder for each class, or in one folder without labels."""

import functools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from rdd_jax.core.errors import UserError

# Pillow's modes of 8 bits a channel, or with a palette of such.
_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SUFFIXES = ", ".join(_SUFFIXES)
# Pillow raises all of these for one or another damaged file.
_DAMAGES = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
_MOST_HEADERS = 10_000  # Takes seconds on a local disk.


class FileSource:
    """The image files of a folder, as RGB: class by class, within a class in the order of their paths.

    Args:
        folder: holds one folder for each class, or the images themselves.
        class_names: the names of these folders; a label is a position here. () for images without labels, which are -1.

    Attributes:
        paths: of all files, in order.

    Raises:
        UserError: if a class, or the folder, has no images.
    """

    def __init__(self, folder: Path, class_names: tuple[str, ...]):
        self.paths, labels = [], []  # str, which is pickled for worker processes ten times as fast as Path.
        places = {folder / name: label for label, name in enumerate(class_names)} or {folder: -1}
        for place, label in places.items():
            paths = image_files(place)
            if not paths:
                raise UserError(f"{place} holds no images ({SUFFIXES}): put some there, or remove that folder")
            self.paths += paths
            labels += len(paths) * [label]
        self._labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> np.ndarray:
        return np.asarray(read_image(self.paths[position]))

    def labels(self) -> np.ndarray:
        """See `sources.Source`."""
        return self._labels

    def name(self, position: int) -> str:
        """See `sources.Source`."""
        return self.paths[position]


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decodes an image file into mode "RGB".

    Transparency is dropped, and the orientation in EXIF data is ignored.

    Raises:
        ValueError: if the file is missing, damaged or no image, or a channel has other than 8 bits.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except _DAMAGES as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to mode "RGB"; transparency is dropped.

    Raises:
        ValueError: if a channel has other than 8 bits.
    """
    if image.mode not in _MODES:
        raise ValueError(f"its pixels are {image.mode}, and 8 bits a channel are expected")
    return image.convert("RGB")


@functools.lru_cache(maxsize=8)
def common_size(paths: tuple[str, ...]) -> tuple[int, int]:
    """Returns the common height and width of image files, from their headers alone.

    Of more than 10,000 files at most 10,000, evenly spread, are read. The size of the others must be checked when they
    are decoded.

    Raises:
        UserError: if two files differ in size, or one cannot be read.
    """
    first = _header_size(paths[0])
    step = -(-len(paths) // _MOST_HEADERS)
    for path in paths[step::step]:
        size = _header_size(path)
        if size != first:
            raise UserError(
                f"{path} has {size[0]} x {size[1]} pixels and {paths[0]} {first[0]} x {first[1]}: set "
                "--config.data.image_size to the size to which all are scaled, as in 32 or 224"
            )
    return first[::-1]


def _header_size(path: str) -> tuple[int, int]:
    """Returns the width and height of an image file."""
    try:
        with Image.open(path) as image:
            return image.size
    except _DAMAGES as error:
        raise UserError(f"{path} cannot be read ({error}): replace it, or take it away") from error


def image_files(folder: Path) -> list[str]:
    """Lists the image files in a folder and its subfolders, each file once.

    Hidden files and folders are left out. Links to folders are not followed, as they may form a circle. Links to files
    are followed; a file that is reached several times, by links or directly, is listed once.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): allow this program to read it")

    files, links = set(), []
    for parent, folders, names in os.walk(os.path.realpath(folder), onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in _SUFFIXES or not os.path.isfile(path):
                continue
            if os.path.islink(path):
                links.append(path)
            else:
                files.add(path)
    targets = {}
    for path in sorted(links):
        targets.setdefault(os.path.realpath(path), path)
    found = [*files, *(path for target, path in targets.items() if target not in files)]
    root = os.path.realpath(folder)
    return sorted(str(folder) + path.removeprefix(root) for path in found)


def class_folders(folder: Path) -> tuple[str, ...]:
    """Returns the class names of a folder of images: the names of its subfolders, in alphabetical order."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
