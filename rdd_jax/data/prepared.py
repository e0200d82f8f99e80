"""What TensorFlow Datasets (TFDS) has prepared as array_record files, read without TensorFlow."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

PathLike = str | os.PathLike[str]

_READ_CHUNK = 1000  # Images decoded between two movements of the progress bar.


def root(data_dir: PathLike | None) -> Path:
    """Where TFDS keeps its data sets: `data_dir`, or else $TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def holds_array_records(folder: Path) -> bool:
    """Whether a prepared data set with both splits, in the format that can be read here, is in the folder."""
    shards = (f"*-{split}.array_record*" for split in ("train", "test"))
    return (folder / "dataset_info.json").is_file() and all(any(folder.glob(pattern)) for pattern in shards)


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
    import tensorflow_datasets as tfds

    # From the folder and not by name: what was prepared is read whatever versions the installed TFDS knows.
    builder = tfds.builder_from_directory(folder)
    sources = {split: builder.as_data_source(split) for split in ("train", "test")}
    return sources, tuple(builder.info.features["label"].names)


def _read_split(source: Sequence[Mapping[str, Any]], title: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (images uint8[n,h,w,c], labels i32[n]) of all examples, in order."""
    images, labels = [], []
    # disable=None keeps the bar out of logs: it shows on a terminal only.
    with tqdm(total=len(source), desc=f"reading {title}", unit=" images", disable=None) as bar:
        for start in range(0, len(source), _READ_CHUNK):
            chunk = source.__getitems__(range(start, min(start + _READ_CHUNK, len(source))))
            images.append(np.stack([example["image"] for example in chunk]))
            labels.append(np.array([example["label"] for example in chunk], np.int32))
            bar.update(len(chunk))
    return np.concatenate(images), np.concatenate(labels)


@contextlib.contextmanager
def _without_opencv_advice() -> Iterator[None]:
    """Drops the advice of TFDS to install OpenCV for speed: everything is decoded once, and then cached."""

    def keep(record: logging.LogRecord) -> bool:
        return "OpenCV is not installed" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
