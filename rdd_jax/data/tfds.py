"""What TensorFlow Datasets (TFDS) has prepared as array_record files, read without TensorFlow."""

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
from tqdm import tqdm

from rdd_jax.core.errors import UserError
from rdd_jax.core.io import atomic_write

PathLike = str | os.PathLike[str]

# Raised for damaged files: by TFDS and its JSON parsers for a description, and RuntimeError for a record.
DAMAGE = (OSError, RuntimeError, ValueError, LookupError, json_format.Error)
_OTHER_EXAMPLES = "its examples are not one image of bytes with one label of a named class each"
_READ_CHUNK = 1000  # Images decoded between two movements of the progress bar.


def root(data_dir: PathLike | None) -> Path:
    """Where TFDS keeps its data sets: `data_dir`, or else $TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def holds_array_records(folder: Path) -> bool:
    """Whether a prepared data set with both splits, in the format that can be read here, is in the folder."""
    shards = (f"*-{split}.array_record*" for split in ("train", "test"))
    return (folder / "dataset_info.json").is_file() and all(any(folder.glob(pattern)) for pattern in shards)


def newest(folder: Path) -> Path | None:
    """The highest version of a data set, in the folder that bears its name, that is in the format read here."""
    held = [place for place in folder.glob("*.*.*") if _is_version(place.name) and _describes_records(place)]
    return max(held, key=lambda place: [int(part) for part in place.name.split(".")], default=None)


def _is_version(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", name) is not None


def _describes_records(folder: Path) -> bool:
    return (folder / "dataset_info.json").is_file() and any(folder.glob("*.array_record*"))


class Contents(NamedTuple):
    """What TFDS says of a prepared data set: sizes {split: n}, image_shape with None for what varies, class_names."""

    sizes: dict[str, int]
    image_shape: tuple[int | None, ...]
    class_names: tuple[str, ...]


def contents(folder: Path) -> Contents:
    """What is in a prepared data set, told from its description alone.

    Raises:
        UserError: where its examples are not an "image" of bytes with a "label" each, or it is damaged.
    """
    import tensorflow_datasets as tfds

    with naming_damage(folder):
        info = _builder(folder).info
        image, label = info.features["image"], info.features["label"]
        if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
            raise ValueError(_OTHER_EXAMPLES)
        shape, names = image.shape, tuple(label.names or ())
        if image.np_dtype != np.uint8 or not names:
            raise ValueError(_OTHER_EXAMPLES)
        sizes = {split: info.splits[split].num_examples for split in info.splits}
        missing = [place for split in sizes for place in info.splits[split].filenames if not (folder / place).is_file()]
        if missing:
            raise ValueError(f"{missing[0]} and {len(missing) - 1} more files are missing")
    return Contents(sizes, tuple(shape), names)


@contextlib.contextmanager
def naming_damage(folder: Path) -> Iterator[None]:
    """Turns the errors that damaged files raise into a UserError that names the data set; other errors pass."""
    try:
        yield
    except DAMAGE as error:
        raise UserError(f"the data set in {folder} cannot be read ({error}): prepare it again") from error


def open_split(folder: Path, split: str) -> Sequence[Mapping[str, Any]]:
    """The random-access examples of one split; its images are decoded as they are accessed."""
    _logger().addFilter(_is_no_advice)
    return _builder(folder).as_data_source(split)


def read_labels(folder: Path, split: str, size: int, cache_dir: Path) -> np.ndarray:
    """The labels i32[size] of a split: from the cache, or else, once, from all its records, with a progress bar.

    Raises:
        UserError: where the records cannot be read.
    """
    # By all that tells one preparation from another.
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

    with naming_damage(folder):
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

    # From the folder and not by name: what was prepared is read whatever versions the installed TFDS knows.
    return tfds.builder_from_directory(folder)


def _read_split(source: Sequence[Mapping[str, Any]], title: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (images uint8[n,h,w,c], labels i32[n]) of all examples, in order."""
    parts = [(np.stack([example["image"] for example in chunk]), _labels(chunk)) for chunk in _chunks(source, title)]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _labels(examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([example["label"] for example in examples], np.int32)


def _chunks(source: Sequence[Mapping[str, Any]], title: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    """All examples in order, some at a time, with a progress bar."""
    # disable=None keeps the bar out of logs: it shows on a terminal only.
    with tqdm(total=len(source), desc=f"reading {title}", unit=" images", disable=None) as bar:
        for start in range(0, len(source), _READ_CHUNK):
            chunk = source.__getitems__(range(start, min(start + _READ_CHUNK, len(source))))
            yield chunk
            bar.update(len(chunk))


@contextlib.contextmanager
def _without_opencv_advice() -> Iterator[None]:
    """Drops the advice of TFDS to install OpenCV for speed: everything is decoded once, and then cached."""
    _logger().addFilter(_is_no_advice)
    try:
        yield
    finally:
        _logger().removeFilter(_is_no_advice)


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "OpenCV is not installed" not in record.getMessage()


def _logger() -> logging.Logger:
    return logging.getLogger("absl")
