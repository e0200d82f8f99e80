"""Data sets of the user's own: an .npz file, as `numpy.savez` writes it, or a function that returns its arrays."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rdd_jax.core import user_code
from rdd_jax.core.errors import UserError
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.data import items

SUFFIX = ".npz"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class OwnData(NamedTuple):
    """A data set of the user's own.

    train_images, test_images: uint8[n,h,w,c], of one size and 1 or 3 channels.
    train_labels, test_labels: i32[n].
    class_names: the names of the classes; their numbers where none are given.
    mean, std: per channel of the training images, scaled to [0, 1].
    checksum: SHA-256 of the arrays.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str


def is_own(dataset: str) -> bool:
    """Returns True where the name of a data set is that of an .npz file, or FILE.py:FUNCTION."""
    return dataset.endswith(SUFFIX) or user_code.is_reference(dataset)


def absolute(dataset: str) -> str:
    """Makes the path of a file absolute, to mean the same from any folder."""
    if user_code.is_reference(dataset):
        return user_code.absolute(dataset)
    return str(Path(dataset).expanduser().resolve())


def short_name(dataset: str) -> str:
    """Returns the name of a file without its folder and ending, as in "data" and "mine_load"."""
    if user_code.is_reference(dataset):
        return user_code.short_name(dataset).replace(".py:", "_")
    return Path(dataset).stem


def read(dataset: str) -> OwnData:
    """Reads an .npz file of arrays, or calls a function without arguments that returns what `to_arrays` takes.

    Raises:
        UserError: if the file is missing or damaged, or the function fails; and the errors of `to_arrays` and `check`.
    """
    return check(dataset, _call(dataset) if user_code.is_reference(dataset) else _load(Path(dataset)))


def to_arrays(source: str, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Makes the arrays of a data set, by name, of what the user gives.

    Args:
        source: names the data in messages.
        given: train_images, train_labels, test_images and test_labels, or the data sets of items train and test (see
            `items`); and perhaps class_names.

    Raises:
        UserError: for something that is no array; and the errors of `items.read_splits`.
    """
    if "train" in given or "test" in given:
        given = items.read_splits(source, given)
    arrays = {}
    for name, value in given.items():
        try:
            arrays[name] = np.asarray(value, str if name == "class_names" else None)
        except ValueError as error:
            raise UserError(f"{source}: {name} is no array ({error}): give all rows one shape") from error
    return arrays


def check(source: str, arrays: Mapping[str, np.ndarray]) -> OwnData:
    """Returns a data set of its arrays.

    Args:
        source: names the data in messages.
        arrays: train_images, train_labels, test_images and test_labels, and perhaps class_names, as in `OwnData`.

    Raises:
        UserError: if an array is missing or has another type or shape.
    """
    for name in _ARRAYS:
        if name not in arrays:
            found = ", ".join(arrays) or "no array"
            raise UserError(f"{source} has no array {name} (it has {found}): give {', '.join(_ARRAYS)}")
    train_images, test_images = (_check_images(source, name, arrays[name]) for name in ("train_images", "test_images"))
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{source}: train_images are {train_images.shape[1:]} and test_images {test_images.shape[1:]}: make them "
            "of one size"
        )
    for split, images in (("train", train_images), ("test", test_images)):
        _check_labels(source, f"{split}_labels", arrays[f"{split}_labels"], len(images))
    names = tuple(str(name) for name in np.ravel(arrays.get("class_names", ())))
    num_classes = len(names) or int(arrays["train_labels"].max()) + 1
    train_labels, test_labels = (
        _check_range(source, name, arrays[name], num_classes) for name in ("train_labels", "test_labels")
    )
    names = names or _numbers(source, arrays["train_labels"])
    mean, std = _channel_statistics(train_images)
    checksum = fingerprint({name: arrays[name] for name in _ARRAYS})
    return OwnData(train_images, train_labels, test_images, test_labels, names, mean, std, checksum)


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"there is no file {path}: --config.dataset takes an .npz file with {', '.join(_ARRAYS)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be read ({error}): write it by numpy.savez, without objects") from error


def _call(reference: str) -> dict[str, np.ndarray]:
    function = user_code.load(reference)
    with user_code.as_user_error(reference):
        given = function()
    if not isinstance(given, Mapping):
        raise UserError(f"{reference} must return a dictionary of arrays; got {type(given).__name__}")
    return to_arrays(reference, given)


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of each channel, scaled to [0, 1], from the counts of its 256 values."""
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = float(np.average(values, weights=counts))
        means.append(mean)
        # A channel of one value is divided by 1.
        deviations.append(float(np.average((values - mean) ** 2, weights=counts)) ** 0.5 or 1.0)
    return tuple(means), tuple(deviations)


def holds(path: Path, arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns True where a file holds exactly these arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return set(file.files) == arrays.keys() and all(np.array_equal(file[name], arrays[name]) for name in arrays)
    except _DAMAGE:
        return False


def _check_images(source: str, name: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise UserError(
            f"{source}: {name} must be uint8[n,h,w,c] with 1 or 3 channels; got {images.dtype}{list(images.shape)}: "
            "scale pixels to 0 to 255 and convert them"
        )
    return images


def _check_labels(source: str, name: str, labels: np.ndarray, num_images: int) -> None:
    if labels.shape != (num_images,) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"{source}: {name} must be integers [{num_images}], one for each image; got "
            f"{labels.dtype}{list(labels.shape)}"
        )


def _numbers(source: str, train_labels: np.ndarray) -> tuple[str, ...]:
    """Returns the numbers of the classes as their names; raises UserError if one has no training image."""
    # A single wrong label would otherwise add classes.
    present = np.unique(train_labels)
    missing = np.flatnonzero(present != np.arange(len(present)))
    if missing.size:
        raise UserError(
            f"{source}: train_labels go up to {present[-1]}, but class {missing[0]} has no image: number the classes "
            "from 0 without gaps, or name all of them in class_names"
        )
    return tuple(map(str, present))


def _check_range(source: str, name: str, labels: np.ndarray, num_classes: int) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= num_classes:
        mend = "number the classes from 0" if labels.min() < 0 else "train on images of all classes"
        raise UserError(
            f"{source}: {name} must be in [0, {num_classes}), the classes; got {labels.min()} to {labels.max()}: {mend}"
        )
    if num_classes < 2:
        raise UserError(f"{source}: {name} are of a single class: a classifier needs two")
    return labels.astype(np.int32)
