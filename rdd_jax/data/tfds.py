"""Data sets that TensorFlow Datasets (TFDS) has prepared as array_record files, read without TensorFlow."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import json_format
from tqdm.auto import tqdm

from rdd_jax.core.errors import UserError
from rdd_jax.core.io import atomic_write
from rdd_jax.core.progress import is_interactive

PathLike = str | os.PathLike[str]

# Raised for damaged files: by TFDS and its JSON parsers for a description, and RuntimeError for a record.
READ_ERRORS = (OSError, RuntimeError, ValueError, LookupError, json_format.Error)
_OTHER_EXAMPLES = "its examples are not one image of bytes with one label of a named class each"
_READ_CHUNK = 1000  # Images decoded between two updates of the progress bar.


def data_root(data_dir: PathLike | None) -> Path:
    """Returns the folder of all data sets: `data_dir`, or else $TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def holds_array_records(folder: Path) -> bool:
    """Returns True if the folder holds a data set with both splits as array_record files."""
    shards = (f"*-{split}.array_record*" for split in ("train", "test"))
    return (folder / "dataset_info.json").is_file() and all(any(folder.glob(pattern)) for pattern in shards)


def latest_version(folder: Path) -> Path | None:
    """Returns the folder of the highest version of a data set that is in the array_record format.

    Args:
        folder: of all versions, which has the data set's name.
    """
    versions = [path for path in folder.glob("*.*.*") if _is_version(path.name) and _describes_records(path)]
    return max(versions, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def _is_version(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", name) is not None


def _describes_records(folder: Path) -> bool:
    return (folder / "dataset_info.json").is_file() and any(folder.glob("*.array_record*"))


class Metadata(NamedTuple):
    """The description of a prepared data set.

    sizes: {split: number of images}.
    image_shape: height, width and channels; None for what differs between images.
    class_names: the names of the classes.
    """

    sizes: dict[str, int]
    image_shape: tuple[int | None, ...]
    class_names: tuple[str, ...]


def read_metadata(folder: Path) -> Metadata:
    """Reads the description of a prepared data set, and no images.

    Raises:
        UserError: if the examples are not one "image" of bytes with one "label" each, or files are missing or damaged.
    """
    import tensorflow_datasets as tfds

    with reporting_damage(folder):
        info = _builder(folder).info
        image, label = info.features["image"], info.features["label"]
        if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
            raise ValueError(_OTHER_EXAMPLES)
        shape, names = image.shape, tuple(label.names or ())
        if image.np_dtype != np.uint8 or not names:
            raise ValueError(_OTHER_EXAMPLES)
        sizes = {split: info.splits[split].num_examples for split in info.splits}
        missing = [name for split in sizes for name in info.splits[split].filenames if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{missing[0]} and {len(missing) - 1} more files are missing")
    return Metadata(sizes, tuple(shape), names)


@contextlib.contextmanager
def reporting_damage(folder: Path) -> Iterator[None]:
    """Turns the errors of damaged files into a UserError that names the folder."""
    try:
        yield
    except READ_ERRORS as error:
        raise UserError(f"the data set in {folder} cannot be read ({error}): prepare it again") from error


def open_split(folder: Path, split: str) -> Sequence[Mapping[str, Any]]:
    """Opens one split for random access; images are decoded when they are accessed."""
    _logger().addFilter(_is_not_opencv_advice)
    return _builder(folder).as_data_source(split)


def read_labels(folder: Path, split: str, size: int, cache_dir: Path) -> np.ndarray:
    """Returns the labels i32[size] of a split, from the cache or else from all records, with a progress bar.

    Raises:
        UserError: if the records cannot be read.
    """
    # The folder and the description identify a preparation of the data set.
    digest = hashlib.sha256(str(folder.resolve()).encode() + (folder / "dataset_info.json").read_bytes()).hexdigest()
    cache = cache_dir / f"labels-{split}-{digest[:16]}.npy"
    try:
        labels = np.load(cache, allow_pickle=False)
        if (labels.dtype, labels.shape) == (np.int32, (size,)):
            return labels
        logging.warning("the cache %s holds %s%s; going back to the source", cache, labels.dtype, labels.shape)
    except FileNotFoundError:
        pass
    except (EOFError, OSError, ValueError) as error:
        logging.warning("the cache %s cannot be read (%s); going back to the source", cache, error)
    import tensorflow_datasets as tfds

    with reporting_damage(folder):
        source = _builder(folder).as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        labels = np.concatenate([_labels(chunk) for chunk in _chunks(source, f"the labels of {folder} {split}")])
    try:
        with atomic_write(cache) as file:
            np.save(file, labels)
    except UserError as error:
        logging.warning("the labels of %s are not cached, and will be read again next time: %s", folder, error)
    return labels


def read(folder: Path, title: str) -> dict[str, Any]:
    """Decodes both splits of a prepared data set, with a progress bar.

    Returns:
        {"train_images", "test_images": uint8[n,h,w,c], "train_labels", "test_labels": i32[n], "class_names": tuple}.
    """
    arrays: dict[str, Any] = {}
    with _without_opencv_advice():
        sources, arrays["class_names"] = _open(folder)
        for split, source in sources.items():
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = _read_split(source, f"{title} {split}")
    return arrays


def _open(folder: Path) -> tuple[dict[str, Sequence[Mapping[str, Any]]], tuple[str, ...]]:
    """Returns the random-access examples of both splits and the class names."""
    builder = _builder(folder)
    sources = {split: builder.as_data_source(split) for split in ("train", "test")}
    return sources, tuple(builder.info.features["label"].names)


def _builder(folder: Path) -> Any:
    import tensorflow_datasets as tfds

    # From the folder and not by name: the installed TFDS need not know the version that was prepared.
    return tfds.builder_from_directory(folder)


def _read_split(source: Sequence[Mapping[str, Any]], title: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (images uint8[n,h,w,c], labels i32[n]) of all examples, in order."""
    parts = [(np.stack([example["image"] for example in chunk]), _labels(chunk)) for chunk in _chunks(source, title)]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _labels(examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([example["label"] for example in examples], np.int32)


def _chunks(source: Any, title: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yields all examples in order, some at a time, with a progress bar."""
    with tqdm(total=len(source), desc=f"reading {title}", unit=" images", disable=not is_interactive()) as bar:
        for start in range(0, len(source), _READ_CHUNK):
            positions = range(start, min(start + _READ_CHUNK, len(source)))
            chunk = source.__getitems__(positions)  # pyrefly: ignore[missing-attribute], as sources of TFDS have it
            yield chunk
            bar.update(len(chunk))


@contextlib.contextmanager
def _without_opencv_advice() -> Iterator[None]:
    """Suppresses the advice of TFDS to install OpenCV for speed, as images are decoded once and then cached."""
    _logger().addFilter(_is_not_opencv_advice)
    try:
        yield
    finally:
        _logger().removeFilter(_is_not_opencv_advice)


def _is_not_opencv_advice(record: logging.LogRecord) -> bool:
    return "OpenCV is not installed" not in record.getMessage()


def _logger() -> logging.Logger:
    return logging.getLogger("absl")
