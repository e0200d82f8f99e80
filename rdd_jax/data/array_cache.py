"""The cache of decoded data sets: one .npz file each, which is enough to load the data set from then on."""

import logging
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rdd_jax.core.errors import UserError
from rdd_jax.core.io import atomic_write

T = TypeVar("T")
# Raised for damaged .npz files, by zipfile and by NumPy's parser of headers; KeyError where an array is missing.
_DAMAGED_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, struct.error),
    *(OSError, EOFError, KeyError, RuntimeError, ValueError),
)


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of all caches: `cache_dir`, or else $RDD_JAX_CACHE, or else ~/.cache/rdd_jax."""
    return Path(cache_dir or os.environ.get("RDD_JAX_CACHE") or "~/.cache/rdd_jax").expanduser()


def is_complete(path: Path) -> bool:
    """Returns True for a whole cache, without reading it."""
    # The directory of a zip file is at its end, and is missing where the file was cut short.
    return zipfile.is_zipfile(path)


def read(path: Path, assemble: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Reads a cache.

    Args:
        path: of the .npz file.
        assemble: makes the result from the arrays by name; it may raise KeyError or ValueError for arrays that are
            missing or not as expected.

    Returns:
        The result of `assemble`. None where there is no cache, and, with a warning, where it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return assemble(arrays)
    except FileNotFoundError:
        return None
    except _DAMAGED_ARCHIVE as error:
        logging.warning("the cache %s cannot be read (%s); going back to the source", path, error)
        return None


def write(path: Path, title: str, arrays: Mapping[str, Any]) -> None:
    """Writes a cache of arrays by name; logs a warning where there is no room or permission for it."""
    try:
        named: dict[str, Any] = dict(arrays)
        with atomic_write(path) as file:
            np.savez(file, **named)
    except UserError as error:
        logging.warning("%s is not cached, and will be decoded again next time: %s", title, error)
