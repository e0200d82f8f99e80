"""Fingerprints of a network's variables, by which a run recognises its teacher wherever it was read from."""

import hashlib
from typing import Any

import jax
import numpy as np


def fingerprint(variables: Any) -> str:
    """Hashes a pytree's arrays with their paths, shapes and dtypes: SHA-256, 64 hexadecimal digits.

    Equal variables have equal fingerprints, whatever the order of their keys.
    """
    digest = hashlib.sha256()
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(variables))
    for name, leaf in sorted((jax.tree_util.keystr(path), leaf) for path, leaf in leaves):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array.data)
    return digest.hexdigest()
