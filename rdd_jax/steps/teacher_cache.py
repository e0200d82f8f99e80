"""The on-disk cache of a fixed teacher's outputs for augmented training images.

With 4-pixel padding and flips a CIFAR image has 162 distinct augmentations, of which 240 epochs sample about 125. A
second run therefore finds about three quarters of the teacher's outputs in the cache, a third run nearly all.
"""

import contextlib
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.options import check_numbers

CACHES = ("none", "views")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class TeacherCacheOptions:
    """The cache of the teacher's outputs: keys of the section `teacher` of a configuration.

    cache: "none" runs the teacher in every step; "views" computes its logits and embedding of every augmented image
        once and keeps them on disk beside the workdir, for all runs with the same teacher.
    cache_dtype: of the numbers on disk, "float32" or "float16".
    cache_gigabytes: the size that the full cache may have, in 10**9 bytes.

    Raises:
        ValueError: for an unknown name or a size that is not finite.
    """

    cache: str = "none"
    cache_dtype: str = "float32"
    cache_gigabytes: float = 4.0

    def __post_init__(self) -> None:
        check_numbers(self, "teacher")
        if self.cache not in CACHES:
            raise ValueError(unknown_name_message("teacher.cache", self.cache, CACHES))
        if self.cache_dtype not in DTYPES:
            raise ValueError(unknown_name_message("teacher.cache_dtype", self.cache_dtype, DTYPES))


class TeacherOutputCache:
    """A file of one row of numbers for every augmentation of every image; it is sparse until it fills.

    Each row has a checksum, by which rows that were never written, half written or damaged are recognised as missing.
    Several processes may use a file at once, because `cache_path` names it by all that its rows depend on.

    Args:
        path: the file; it is made where there is none.
        num_examples: the number of training images.
        num_augmentations: the number of augmentations of each.
        num_values: the numbers in a row.
        dtype: of these numbers, one of DTYPES.

    Raises:
        UserError: where the file cannot be made.
    """

    def __init__(self, path: Path, *, num_examples: int, num_augmentations: int, num_values: int, dtype: str):
        self._path = path
        self._record = _record(num_values, dtype)
        self._shape = (num_examples, num_augmentations)
        with _naming_file(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # Append mode creates the file and never truncates another process's.
                file.truncate(nbytes(num_examples, num_augmentations, num_values, dtype))

    def read(self, images: np.ndarray, augmentations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads the rows of some augmentations.

        Args:
            images: i32[n], positions in the training set.
            augmentations: i32[n].

        Returns:
            (values f32[n,num_values], known bool[n]); the values of a row that is not known are arbitrary.

        Raises:
            UserError: where the file cannot be read.
        """
        with _naming_file(self._path):
            records = np.memmap(self._path, self._record, "r", shape=self._shape)[images, augmentations]
        return records["values"].astype(np.float32), _checksums(records["values"]) == records["checksum"]

    def write(self, images: np.ndarray, augmentations: np.ndarray, values: np.ndarray) -> None:
        """Writes the rows of some augmentations.

        Args:
            images: i32[n], positions in the training set.
            augmentations: i32[n].
            values: f32[n,num_values].

        Raises:
            UserError: where the disk is full, or a value is too large for the file's dtype.
        """
        records = np.empty(len(values), self._record)
        with np.errstate(over="ignore"):
            records["values"] = values
        if not np.array_equal(np.isfinite(records["values"]), np.isfinite(values)):
            raise UserError(
                "the teacher's outputs are too large for float16: set --config.teacher.cache_dtype=float32 and another "
                "--workdir"
            )
        records["checksum"] = _checksums(records["values"])
        offsets = np.ravel_multi_index((images, augmentations), self._shape) * self._record.itemsize
        with _naming_file(self._path), self._path.open("r+b") as file:
            for offset, record in zip(offsets, records, strict=True):
                file.seek(offset)
                file.write(record.tobytes())


def nbytes(num_examples: int, num_augmentations: int, num_values: int, dtype: str) -> int:
    """Returns the size of a full file."""
    return num_examples * num_augmentations * _record(num_values, dtype).itemsize


def cache_path(folder: Path, name: str, arrays: Any, **settings: Any) -> Path:
    """Returns the file for the outputs of one network.

    Args:
        folder: holds all caches.
        name: of the network.
        arrays: a pytree of the arrays that the outputs depend on.
        settings: all else that they depend on, as JSON has it.
    """
    depended_on = json.dumps(settings, sort_keys=True) + fingerprint(arrays)
    return folder / f"{name}-{hashlib.sha256(depended_on.encode()).hexdigest()[:16]}.bin"


def _record(num_values: int, dtype: str) -> np.dtype:
    return np.dtype([("values", dtype, (num_values,)), ("checksum", np.uint32)])


def _checksums(values: np.ndarray) -> np.ndarray:
    return np.array([zlib.crc32(row) for row in np.ascontiguousarray(values)], np.uint32)


@contextlib.contextmanager
def _naming_file(path: Path) -> Iterator[None]:
    """Turns the errors of reading and writing into a UserError that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError where another process has cut the file short.
        reason = getattr(error, "strerror", None) or error
        fix = "make room, or delete it, and run the same command again"
        raise UserError(f"{path}, the cache of the teacher's outputs: {reason}; {fix}") from error
