"""Fingerprints of variables: which weights a run learned from, wherever they were read from."""

import hashlib
from typing import Any

import jax
import numpy as np


def fingerprint(variables: Any) -> str:
    """The SHA-256 of a pytree's arrays with their names, shapes and dtypes, as 64 hexadecimal digits.

    The same variables have the same fingerprint in whatever order and file they were stored.
    """
    digest = hashlib.sha256()
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(variables))
    for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array)
    return digest.hexdigest()
