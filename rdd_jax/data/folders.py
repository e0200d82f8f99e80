"""Folders of image files: one folder for each class, and which files in it count."""

import functools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from rdd_jax.core.errors import UserError

# Of Pillow: with 8 bits a channel, or a palette of such.
_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SUFFIXES = ", ".join(_SUFFIXES)
# Pillow raises all of these for one or another damaged file.
_DAMAGES = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
_MOST_HEADERS = 10_000  # Some seconds on a local disk; of a larger folder every so many-th header is read.


class Files:
    """The image files of a folder with one folder for each class, in the order of their paths, as RGB.

    `paths` and `labels` are the files and their classes' positions in `class_names`.
    """

    def __init__(self, folder: Path, class_names: tuple[str, ...]):
        self.paths, labels = [], []  # Of str, which travel to other processes ten times as fast as Path.
        for label, class_name in enumerate(class_names):
            paths = image_files(folder / class_name)
            if not paths:
                raise UserError(
                    f"{folder / class_name} holds no images ({SUFFIXES}): put some there, or leave that class out"
                )
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
    """Decodes an image file, whatever its colours, into mode "RGB".

    Transparency is dropped, and what EXIF says of the orientation is ignored.

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
    """Returns the height and width that all image files have, from their headers alone.

    Of more than 10,000 files a tenth thousand, evenly spread, is read; whoever decodes the others has to check them.

    Raises:
        UserError: where two files differ, or one is no image.
    """
    first = None
    for path in paths[:: -(-len(paths) // _MOST_HEADERS)]:
        size = _header_size(path)
        first = first or size
        if size != first:
            raise UserError(
                f"{path} has {size[0]} x {size[1]} pixels and {paths[0]} {first[0]} x {first[1]}: set "
                "--config.data.image_size to the size to which all are scaled, as in 32 or 224"
            )
    return first[::-1]


def _header_size(path: str) -> tuple[int, int]:
    """Width and height of an image file."""
    try:
        with Image.open(path) as image:
            return image.size
    except _DAMAGES as error:
        raise UserError(f"{path} cannot be read ({error}): replace it, or take it away") from error


def image_files(folder: Path) -> list[str]:
    """The images in a folder and in those within it, each once.

    Hidden files and folders are left out. Links to folders are not followed, as they may lead anywhere, or back here.
    Links to files are: of several to one file, and that file itself where it is in this folder, one counts.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): give this program the right to")

    files, links = set(), []
    for place, folders, names in os.walk(os.path.realpath(folder), onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            path = os.path.join(place, name)
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
    """The classes of a folder of images: the names of the folders in it, in alphabetical order."""
    return tuple(sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")))
