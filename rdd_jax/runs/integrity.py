"""Detection of damaged checkpoints, and what is done with them."""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rdd_jax.core.processes import warn


def checksums(tree: Any) -> dict[str, int]:
    """Returns the CRC-32 of every array's bytes, by its path in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    views = {jax.tree_util.keystr(path): np.ascontiguousarray(leaf).view(np.uint8) for path, leaf in leaves}
    return {name: zlib.crc32(view.data) for name, view in views.items()}


def find_mismatch(tree: Any, shapes: Any, expected: dict[str, int], name: str) -> str | None:
    """Compares arrays that were read with what was saved.

    Args:
        tree: the arrays.
        shapes: the shapes and dtypes wanted, in the same tree.
        expected: the checksums at the time of saving, by path.
        name: the name of the tree, for the message.

    Returns:
        The first mismatch in words; None where all arrays are as they were saved, and as they are wanted.
    """
    for (path, wanted), leaf in zip(jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(tree), strict=True):
        if (leaf.shape, leaf.dtype) != (wanted.shape, wanted.dtype):
            key = f"{name}{jax.tree_util.keystr(path)}"
            return f"{key} is {leaf.dtype}{leaf.shape}, and {wanted.dtype}{wanted.shape} is wanted"
    wrong = sorted(path for path, checksum in checksums(tree).items() if expected.get(path) != checksum)
    if wrong:
        return f"{len(wrong)} arrays are not what was saved, the first is {name}{wrong[0]}"
    return None


def quarantine(folder: Path) -> Path:
    """Renames the folder of a damaged checkpoint STEP to damaged-STEP-0, -1 and so on, so that STEP can be saved again.

    Returns:
        The new path.
    """
    count = len(list(folder.parent.glob(f"damaged-{folder.name}-*")))
    return folder.rename(folder.with_name(f"damaged-{folder.name}-{count}"))


def delete_damaged_metrics(folder: Path) -> None:
    """Deletes unreadable metric files in a folder of checkpoints, because Orbax refuses to open the folder otherwise.

    The checkpoints remain, but can no longer be ranked by accuracy.
    """
    for path in folder.glob("*/metrics/metrics"):
        try:
            json.loads(path.read_bytes())["accuracy"]
        except (KeyError, TypeError, ValueError):
            path.unlink()
            warn(f"{path} is damaged: that checkpoint cannot be ranked by its accuracy, and is otherwise intact")
