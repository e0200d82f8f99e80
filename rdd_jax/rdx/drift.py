"""Drift: how much the mined table would change by now, estimated on a few training images, the probe."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from rdd_jax.core import devices
from rdd_jax.core.types import Array
from rdd_jax.rdx.mining import mine

# The size of a pool in relation to the number of images, as 1,024 of 16,384.
_POOL_SHARE = 1 / 16
METRIC_NAMES = ("drift_pool", "drift_confusion")


def measure_drift(student_mined: Array, student_now: Array, teacher: Array, *, pool_size: int) -> dict[str, Array]:
    """Compares the contrast tables of a student at the last mining and now.

    Both metrics lie in [0, 1] and use the default gamma and beta of `rdx.mine`, so that a threshold means the same for
    every method. "drift_pool" follows the negatives of the loss, which may change while the distribution of confusion
    stays the same; "drift_confusion" follows how much the models disagree.

    Args:
        student_mined: f32[p,ds], the student's embeddings of the probe when the table was mined.
        student_now: f32[p,ds], its embeddings now.
        teacher: f32[p,dt].
        pool_size: the number of hard negatives of an image.

    Returns:
        {"drift_pool": the share f32[] of hard negatives that have been replaced; "drift_confusion": the
        Kolmogorov-Smirnov distance f32[] between the distributions of confusion}.
    """
    tables = [mine(student, teacher, pool_size=pool_size) for student in (student_mined, student_now)]
    kept = (tables[0].negatives[:, :, None] == tables[1].negatives[:, None, :]).any(axis=2)
    values = jnp.concatenate([table.confusion for table in tables])
    cumulative = [
        jnp.searchsorted(jnp.sort(table.confusion), values, side="right") / len(table.confusion) for table in tables
    ]
    return dict(zip(METRIC_NAMES, (1.0 - jnp.mean(kept), jnp.max(jnp.abs(cumulative[0] - cumulative[1]))), strict=True))


def make_drift_measure(num_probes: int) -> Callable[[Array, Array, Array], dict[str, Array]]:
    """Compiles `measure_drift` for the devices, with a pool in proportion to the number of images."""
    pool_size = max(1, round(num_probes * _POOL_SHARE))
    return devices.data_parallel(partial(measure_drift, pool_size=pool_size), in_axes=(None, None, None))


def probe_indices(num_examples: int, num_probes: int) -> Array:
    """Returns the indices i32[num_probes] of the probe's images, spread evenly over the training set."""
    return jnp.linspace(0, num_examples - 1, num_probes).round().astype(jnp.int32)
