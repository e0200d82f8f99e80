"""What a fixed teacher says of the views of the training images, each computed once and kept in a file.

Padding by 4 and mirroring give an image of CIFAR 162 views, and 240 epochs meet about 125 of them: a second seed, or
another method, then finds three quarters of what its teacher has to say, and a third nearly all of it.
"""

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
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


class ViewCache:
    """Rows of `num_values` numbers for every view of every image, in one file, sparse until it fills.

    A row stands there with its checksum: what was never written, or only half, or has been damaged since, is not known.
    Several processes may use a file at once, as its name says all that what they write depends on.
    """

    def __init__(self, path: Path, *, num_examples: int, num_views: int, num_values: int, dtype: str):
        self._path = path
        self._record = _record(num_values, dtype)
        self._shape = (num_examples, num_views)
        with _named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # Makes it where there is none, and never cuts another's.
                file.truncate(nbytes(num_examples, num_views, num_values, dtype))

    def read(self, images: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """-> (values f32[n,num_values], known bool[n]) of those views i32[n] of those images i32[n]."""
        with _named(self._path):
            records = np.memmap(self._path, self._record, "r", shape=self._shape)[images, views]
        return records["values"].astype(np.float32), _checksums(records["values"]) == records["checksum"]

    def write(self, images: np.ndarray, views: np.ndarray, values: np.ndarray) -> None:
        """Keeps values f32[n,num_values].

        Raises:
            UserError: where the disk is full, or a value too large for the file's dtype.
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
        places = np.ravel_multi_index((images, views), self._shape) * self._record.itemsize
        with _named(self._path), self._path.open("r+b") as file:
            for place, record in zip(places, records, strict=True):
                file.seek(place)
                file.write(record.tobytes())


def nbytes(num_examples: int, num_views: int, num_values: int, dtype: str) -> int:
    """The size of a full file."""
    return num_examples * num_views * _record(num_values, dtype).itemsize


def _record(num_values: int, dtype: str) -> np.dtype:
    return np.dtype([("values", dtype, (num_values,)), ("checksum", np.uint32)])


def _checksums(values: np.ndarray) -> np.ndarray:
    return np.array([zlib.crc32(row) for row in np.ascontiguousarray(values)], np.uint32)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # The latter where it was cut short under our hands.
        reason = getattr(error, "strerror", None) or error
        mend = "make room, or delete it, and run the same command again"
        raise UserError(f"{path}, the cache of the teacher's views: {reason}; {mend}") from error
