"""Data sets of the user's own in one .npz file, as `numpy.savez` writes it."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rdd_jax.core.errors import UserError

SUFFIX = ".npz"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class ArrayFile(NamedTuple):
    """The content of a file.

    train_images, test_images: uint8[n,h,w,c], of one size and 1 or 3 channels.
    train_labels, test_labels: i32[n].
    class_names: the names of the classes; their numbers where the file has no names.
    mean, std: per channel of the training images, scaled to [0, 1].
    checksum: SHA-256 of the file.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str


def is_array_file(dataset: str) -> bool:
    """Returns True where the name of a data set is that of a file."""
    return dataset.endswith(SUFFIX)


def read(path: Path) -> ArrayFile:
    """Reads train_images, train_labels, test_images and test_labels, and class_names where the file has them.

    Raises:
        UserError: if the file is missing or damaged, or an array is missing or has another type or shape.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}: --config.dataset takes an .npz file with {', '.join(_ARRAYS)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be read ({error}): write it by numpy.savez, without objects") from error
    for name in _ARRAYS:
        if name not in arrays:
            found = ", ".join(arrays) or "no array"
            raise UserError(f"{path} has no array {name} (it has {found}): save {', '.join(_ARRAYS)} in it")
    train_images, test_images = (_check_images(path, name, arrays[name]) for name in ("train_images", "test_images"))
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{path}: train_images are {train_images.shape[1:]} and test_images {test_images.shape[1:]}: make them of "
            "one size"
        )
    names = tuple(str(name) for name in arrays.get("class_names", ()))
    num_classes = len(names) or int(arrays["train_labels"].max(initial=0)) + 1
    train_labels, test_labels = (
        _check_labels(path, f"{split}_labels", arrays[f"{split}_labels"], len(images), num_classes)
        for split, images in (("train", train_images), ("test", test_images))
    )
    scaled = train_images.reshape(-1, train_images.shape[-1]) / 255
    return ArrayFile(
        train_images,
        train_labels,
        test_images,
        test_labels,
        names or tuple(map(str, range(num_classes))),
        tuple(map(float, scaled.mean(axis=0))),
        # A channel of one value is divided by 1.
        tuple(float(deviation) or 1.0 for deviation in scaled.std(axis=0)),
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def holds(path: Path, arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns True where a file holds exactly these arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return set(file.files) == arrays.keys() and all(np.array_equal(file[name], arrays[name]) for name in arrays)
    except _DAMAGE:
        return False


def _check_images(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise UserError(
            f"{path}: {name} must be uint8[n,h,w,c] with 1 or 3 channels; got {images.dtype}{list(images.shape)}: "
            "scale pixels to 0 to 255 and convert them"
        )
    return images


def _check_labels(path: Path, name: str, labels: np.ndarray, num_images: int, num_classes: int) -> np.ndarray:
    if labels.shape != (num_images,) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"{path}: {name} must be integers [{num_images}], one for each image; got "
            f"{labels.dtype}{list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"{path}: {name} must be in [0, {num_classes}), the classes; got {labels.min()} to {labels.max()}"
        )
    if num_classes < 2:
        raise UserError(f"{path}: {name} are of a single class: a classifier needs two")
    return labels.astype(np.int32)
