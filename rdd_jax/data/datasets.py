"""The data sets that are known by name and loaded whole into memory, as uint8.

`digits` is part of scikit-learn. `mnist` and `cifar100` are read, without TensorFlow, from files that TensorFlow
Datasets (TFDS) has prepared in the array_record format. Decoding takes seconds, so the arrays are then cached in one
.npz file, which is sufficient from then on. The TFDS versions are pinned, because the order of a data set is part of
what a seed determines. `cifar100_small` is a part of `cifar100`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import array_cache, cifar100_subset, digits, tfds
from rdd_jax.data.streaming import Stream
from rdd_jax.data.tfds import PathLike


class DataNotPrepared(UserError):
    """The data set is neither cached nor prepared by TFDS on this machine."""


class DatasetInfo(NamedTuple):
    """The sizes of a data set.

    num_train, num_test: the numbers of images.
    image_shape: height, width and channels.
    num_classes: the number of classes.
    """

    num_train: int
    num_test: int
    image_shape: tuple[int, int, int]
    num_classes: int


class Dataset(NamedTuple):
    """A data set, with images in memory or streamed.

    name: of the data set.
    train_images, test_images: uint8[n,h,w,c], or a `streaming.Stream` of such images.
    train_labels, test_labels: i32[n], positions in class_names. All train_labels are -1 where there are none.
    class_names: the names of the classes.
    mean, std: per channel, of training pixels scaled to [0, 1].
    validation_images, validation_labels: likewise, held out of the training images; None where none are held out.
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


_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")  # A cache holds these and class_names.


class _Spec(NamedTuple):
    """The table's row of a data set; without a `tfds_name` it needs no files."""

    info: DatasetInfo
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tfds_name: str = ""
    tfds_version: str = ""


_CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
_CIFAR100_STD = (0.2675, 0.2565, 0.2761)

_SPECS = {
    "digits": _Spec(DatasetInfo(1_437, 360, (8, 8, 1), 10), (0.3054,), (0.3758,)),
    "mnist": _Spec(DatasetInfo(60_000, 10_000, (28, 28, 1), 10), (0.1307,), (0.3081,), "mnist", "3.0.1"),
    "cifar100": _Spec(
        DatasetInfo(50_000, 10_000, (32, 32, 3), 100), _CIFAR100_MEAN, _CIFAR100_STD, "cifar100", "3.0.2"
    ),
    # Normalised like cifar100, so that a network trained on one can be evaluated on the other.
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
    """Returns True where `load` would find the data, without reading it. Arguments and errors are those of `load`."""
    spec = _spec(name)
    if not spec.tfds_name:
        return True
    folder = _tfds_folder(spec, data_dir)
    return array_cache.is_complete(_cache_path(spec, cache_dir)) or tfds.holds_array_records(folder)


def check(name: str, data_dir: PathLike | None = None, cache_dir: PathLike | None = None) -> None:
    """Raises DataNotPrepared, with the command that prepares the data, if `load` would not find it; reads nothing.

    Arguments and errors are those of `load`.
    """
    if not is_prepared(name, data_dir, cache_dir):
        raise DataNotPrepared(_how_to_prepare(name, data_dir, cache_dir))


def prepared_folder(name: str) -> Path:
    """Returns the folder of TFDS that holds the data set, or the data set of which it is a part.

    Errors are those of `describe`.
    """
    return _tfds_folder(_spec(name), None)


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns (mean, std) of each channel, as `Dataset` has them. Errors are those of `describe`."""
    return _spec(name).mean, _spec(name).std


def load(name: str, data_dir: PathLike | None = None, cache_dir: PathLike | None = None) -> Dataset:
    """Loads a data set into memory: the same arrays in the same order every time.

    Args:
        name: one of NAMES.
        data_dir: the folder of TFDS's data sets; by default $TFDS_DATA_DIR, or else ~/tensorflow_datasets.
        cache_dir: the folder of caches; by default $RDD_JAX_CACHE, or else ~/.cache/rdd_jax. A cache that cannot be
            read is replaced. Both that and a cache that cannot be written are logged as warnings.

    Raises:
        ValueError: if `name` is not one of NAMES.
        DataNotPrepared: if the data is found neither in `cache_dir` nor in `data_dir`.
        UserError: if the prepared data is damaged.
    """
    spec = _spec(name)
    if name == "digits":
        return _assemble(name, digits.load_arrays())
    if name == "cifar100_small":
        return _cut_cifar100_small(load("cifar100", data_dir, cache_dir))

    cache = _cache_path(spec, cache_dir)
    dataset = array_cache.read(cache, partial(_assemble, name))
    if dataset is None:
        folder = _tfds_folder(spec, data_dir)
        if not tfds.holds_array_records(folder):
            raise DataNotPrepared(_how_to_prepare(name, data_dir, cache_dir))
        with tfds.reporting_damage(folder):
            dataset = _assemble(name, tfds.read(folder, name))
        arrays = {field: getattr(dataset, field) for field in _ARRAYS}
        array_cache.write(cache, name, arrays | {"class_names": np.array(dataset.class_names)})
    return dataset


def _spec(name: str) -> _Spec:
    if name in _SPECS:
        return _SPECS[name]
    raise ValueError(unknown_name_message("data set", name, _SPECS))


def _tfds_folder(spec: _Spec, data_dir: PathLike | None) -> Path:
    if spec.tfds_name is None or spec.tfds_version is None:
        raise ValueError("the data set is not one of TFDS")
    return tfds.data_root(data_dir) / spec.tfds_name / spec.tfds_version


def _cache_path(spec: _Spec, cache_dir: PathLike | None) -> Path:
    return array_cache.cache_root(cache_dir) / f"{spec.tfds_name}-{spec.tfds_version}.npz"


def _how_to_prepare(name: str, data_dir: PathLike | None, cache_dir: PathLike | None) -> str:
    """Returns one line: the missing data set, the folders that were searched, and the commands that prepare it."""
    spec = _spec(name)
    root, folder = tfds.data_root(data_dir), _tfds_folder(spec, data_dir)
    # TFDS does not prepare a data set in another format where one exists.
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


def _cut_cifar100_small(cifar100: Dataset) -> Dataset:
    """Returns the part of `cifar100` that `cifar100_subset` describes."""
    names = cifar100.class_names
    train, train_labels = cifar100_subset.subset_indices(names, cifar100.train_labels, cifar100_subset.IMAGES_PER_CLASS)
    test, test_labels = cifar100_subset.subset_indices(names, cifar100.test_labels, None)
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
    """Makes a data set of arrays by name.

    Raises:
        KeyError: if an array is missing.
        ValueError: if an array is not as described in the table.
    """
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
