"""The division of training images into those to train on and those to hold out."""

import numpy as np

from rdd_jax.core.errors import UserError


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Divides images, class by class, into those to train on and those to hold out.

    The division depends on the arguments alone, so that all seeds, all methods and their teacher share it. Of a class
    of n images round(share * n) are held out, but at least one, and at least one is kept.

    Args:
        labels: i32[n].
        share: in (0, 1).

    Returns:
        (positions i64[kept], positions i64[held out]), both ascending.

    Raises:
        UserError: if a class has a single image.
    """
    held_out = np.zeros(len(labels), bool)
    # RandomState and not Generator: NumPy promises that its stream never changes.
    shuffled = np.random.RandomState(0).permutation(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        if len(members) < 2:
            raise UserError(f"class {label} (from 0) has a single image, and data.validation needs two: add one")
        held_out[members[: np.clip(round(share * len(members)), 1, len(members) - 1)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
