"""Image data sets, whole and in memory, as uint8.

`digits` is embedded in scikit-learn. `mnist` and `cifar100` are read, without TensorFlow, from what TensorFlow Datasets
(TFDS) has prepared in the array_record format; decoding takes seconds, so the arrays are then cached in one .npz file
that is enough by itself from there on. Their TFDS versions are pinned: the order of a data set is part of what a seed
means. `cifar100_small` is cut from `cifar100`.
"""

import logging
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.core.io import atomic_write
from rdd_jax.data import cifar100_subset, tfds
from rdd_jax.data.streaming import Stream
from rdd_jax.data.tfds import PathLike


class DataNotPrepared(UserError):
    """The data set is on this machine neither as a cache nor as a prepared TFDS data set."""


class DatasetInfo(NamedTuple):
    """What can be said of a data set without reading it."""

    num_train: int
    num_test: int
    image_shape: tuple[int, int, int]  # Height, width, channels.
    num_classes: int


class Dataset(NamedTuple):
    """A data set, in memory or with images that are read as they are needed.

    train_images, test_images: uint8[n,h,w,c], or a `stream.Stream` of such.
    train_labels, test_labels: i32[n], positions in class_names.
    mean, std: per channel, of training pixels scaled to [0, 1].
    validation_images, validation_labels: as those, held out of the training images; None without such.
    """

    name: str
    train_images: np.ndarray | Stream
    train_labels: np.ndarray
    test_images: np.ndarray | Stream
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation_images: np.ndarray | Stream | None = None
    validation_labels: np.ndarray | None = None


# Raised for damaged .npz files, by zipfile and by NumPy's parser of headers; KeyError where an array is missing.
_DAMAGED_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, struct.error),
    *(OSError, EOFError, KeyError, RuntimeError, ValueError),
)
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")  # What a cache holds, besides names.


class _Spec(NamedTuple):
    info: DatasetInfo
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tfds_name: str | None = None
    tfds_version: str | None = None


_CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
_CIFAR100_STD = (0.2675, 0.2565, 0.2761)

_SPECS = {
    "digits": _Spec(DatasetInfo(1_437, 360, (8, 8, 1), 10), (0.3054,), (0.3758,)),
    "mnist": _Spec(DatasetInfo(60_000, 10_000, (28, 28, 1), 10), (0.1307,), (0.3081,), "mnist", "3.0.1"),
    "cifar100": _Spec(
        DatasetInfo(50_000, 10_000, (32, 32, 3), 100), _CIFAR100_MEAN, _CIFAR100_STD, "cifar100", "3.0.2"
    ),
    # Normalised as its parent is, so that a network trained on the one can be tried on the other.
    "cifar100_small": _Spec(
        DatasetInfo(5_000, 2_000, (32, 32, 3), 20), _CIFAR100_MEAN, _CIFAR100_STD, "cifar100", "3.0.2"
    ),
}

NAMES = tuple(_SPECS)


def describe(name: str) -> DatasetInfo:
    """Returns the sizes of a data set from a table, without reading it.

    Raises:
        ValueError: if `name` is not one of NAMES.
    """
    return _spec(name).info


def is_prepared(name: str, data_dir: PathLike | None = None, cache_dir: PathLike | None = None) -> bool:
    """Returns whether `load` would find the data, without reading it. Arguments and errors are those of `load`."""
    spec = _spec(name)
    if spec.tfds_name is None:
        return True
    # A zip file's directory is at its end, so this also sees through a cache that was cut short.
    return zipfile.is_zipfile(_cache_path(spec, cache_dir)) or tfds.holds_array_records(_tfds_folder(spec, data_dir))


def check(name: str, data_dir: PathLike | None = None, cache_dir: PathLike | None = None) -> None:
    """Raises DataNotPrepared, with the way to prepare it, if `load` would not find the data. Takes milliseconds.

    Arguments and errors are those of `load`.
    """
    if not is_prepared(name, data_dir, cache_dir):
        raise DataNotPrepared(_how_to_prepare(name, data_dir, cache_dir))


def prepared_folder(name: str) -> Path:
    """Where TFDS keeps the data set that `name` is, or is cut from. Errors are those of `describe`."""
    return _tfds_folder(_spec(name), None)


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, as `Dataset` has them. Errors are those of `describe`."""
    return _spec(name).mean, _spec(name).std


def load(name: str, data_dir: PathLike | None = None, cache_dir: PathLike | None = None) -> Dataset:
    """Returns a data set, whole and in memory; the same arrays in the same order every time.

    Args:
        name: one of NAMES.
        data_dir: where TFDS keeps its data sets; by default $TFDS_DATA_DIR, or else ~/tensorflow_datasets.
        cache_dir: where decoded arrays are kept; by default $RDD_JAX_CACHE, or else ~/.cache/rdd_jax. A cache that
            cannot be read is replaced, and one that cannot be written is done without; both are logged as warnings.

    Raises:
        ValueError: if `name` is not one of NAMES.
        DataNotPrepared: if the data is found neither in `cache_dir` nor in `data_dir`.
        UserError: if the prepared data is damaged.
    """
    spec = _spec(name)
    if name == "digits":
        return _load_digits()
    if name == "cifar100_small":
        return _cut_small(load("cifar100", data_dir, cache_dir))

    cache = _cache_path(spec, cache_dir)
    dataset = _read_cache(name, cache)
    if dataset is None:
        folder = _tfds_folder(spec, data_dir)
        if not tfds.holds_array_records(folder):
            raise DataNotPrepared(_how_to_prepare(name, data_dir, cache_dir))
        with tfds.naming_damage(folder):
            dataset = _assemble(name, tfds.read(folder, name))
        _write_cache(dataset, cache)
    return dataset


def _spec(name: str) -> _Spec:
    if name in _SPECS:
        return _SPECS[name]
    raise ValueError(unknown_name_message("data set", name, _SPECS))


def _tfds_folder(spec: _Spec, data_dir: PathLike | None) -> Path:
    return tfds.root(data_dir) / spec.tfds_name / spec.tfds_version


def cache_root(cache_dir: PathLike | None = None) -> Path:
    """Where decoded arrays are kept: `cache_dir`, or else $RDD_JAX_CACHE, or else ~/.cache/rdd_jax."""
    return Path(cache_dir or os.environ.get("RDD_JAX_CACHE") or "~/.cache/rdd_jax").expanduser()


def _cache_path(spec: _Spec, cache_dir: PathLike | None) -> Path:
    return cache_root(cache_dir) / f"{spec.tfds_name}-{spec.tfds_version}.npz"


def _how_to_prepare(name: str, data_dir: PathLike | None, cache_dir: PathLike | None) -> str:
    """One line: what is missing, where it was looked for, and the commands that mend it."""
    spec = _spec(name)
    root, folder = tfds.root(data_dir), _tfds_folder(spec, data_dir)
    # TFDS refuses to prepare a data set again in another format where it finds one already.
    clear = f"move away {folder}, which is incomplete or in another file format, then " if folder.exists() else ""
    builder = (
        f"tfds.builder('{spec.tfds_name}:{spec.tfds_version}', data_dir={str(root)!r}, file_format='array_record')"
    )
    return (
        f"data set {name!r} is not prepared: found no readable cache at {_cache_path(spec, cache_dir)} and no "
        f"array_record data set at {folder}; to prepare it once, {clear}run: pip install tensorflow "
        f'importlib_resources && python -c "import tensorflow_datasets as tfds; {builder}.download_and_prepare()" '
        f"and then set TFDS_DATA_DIR={root}"
    )


def _load_digits() -> Dataset:
    """The digits of scikit-learn; a fifth of every class, drawn by a fixed permutation, is the test set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)

    # RandomState and not Generator: NumPy promises that its stream never changes.
    shuffled = np.random.RandomState(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    in_test = np.zeros(len(labels), bool)
    in_test[by_class[::5]] = True
    return _assemble(
        "digits",
        {
            "train_images": images[~in_test],
            "train_labels": labels[~in_test],
            "test_images": images[in_test],
            "test_labels": labels[in_test],
            "class_names": tuple(str(name) for name in digits.target_names),
        },
    )


def _cut_small(cifar100: Dataset) -> Dataset:
    """The part of `cifar100` that `small` describes."""
    names = cifar100.class_names
    train, train_labels = cifar100_subset.part(names, cifar100.train_labels, cifar100_subset.IMAGES_PER_CLASS)
    test, test_labels = cifar100_subset.part(names, cifar100.test_labels, None)
    return _assemble(
        "cifar100_small",
        {
            "train_images": cifar100.train_images[train],
            "train_labels": train_labels,
            "test_images": cifar100.test_images[test],
            "test_labels": test_labels,
            "class_names": cifar100_subset.CLASSES,
        },
    )


def _assemble(name: str, arrays: Mapping[str, Any]) -> Dataset:
    """Returns the data set of these arrays, or raises if one is missing (KeyError) or not as described (ValueError)."""
    spec = _SPECS[name]
    info = spec.info
    expected = {
        "train_images": (np.uint8, (info.num_train, *info.image_shape)),
        "train_labels": (np.int32, (info.num_train,)),
        "test_images": (np.uint8, (info.num_test, *info.image_shape)),
        "test_labels": (np.int32, (info.num_test,)),
    }
    fields = {field: arrays[field] for field in expected}
    for field, (dtype, shape) in expected.items():
        if fields[field].dtype != dtype or fields[field].shape != shape:
            raise ValueError(f"{field} of {name} is {fields[field].dtype}{fields[field].shape}, not {shape}")
    class_names = tuple(str(class_name) for class_name in arrays["class_names"])
    if len(class_names) != info.num_classes:
        raise ValueError(f"{name} has {len(class_names)} class names, not {info.num_classes}")
    return Dataset(name=name, **fields, class_names=class_names, mean=spec.mean, std=spec.std)


def _read_cache(name: str, path: Path) -> Dataset | None:
    """Returns the data set, or None if there is no cache, or (with a warning) if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _assemble(name, arrays)
    except FileNotFoundError:
        return None
    except _DAMAGED_ARCHIVE as error:
        logging.warning("the cache %s cannot be read (%s); going back to the source", path, error)
        return None


def _write_cache(dataset: Dataset, path: Path) -> None:
    """Writes the cache; without room or permission for it, a warning is all."""
    arrays = {field: getattr(dataset, field) for field in _ARRAYS}
    try:
        with atomic_write(path) as file:
            np.savez(file, **arrays, class_names=np.array(dataset.class_names))
    except UserError as error:
        logging.warning("%s is not cached, and will be decoded again next time: %s", dataset.name, error)
