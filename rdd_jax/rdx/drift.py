"""How far a student has moved away from the table that was mined of it, told by a few images."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from rdd_jax import rdx
from rdd_jax.core import devices
from rdd_jax.core.types import Array

# Of the probe's images, the share that makes a pool of hard negatives: as 1,024 of 16,384.
_POOL_SHARE = 1 / 16
NAMES = ("drift_pool", "drift_confusion")


def measure(before: Array, now: Array, teacher: Array, *, pool_size: int) -> dict[str, Array]:
    """Compares the contrast tables that a student's embeddings of the probe give, before and now.

    Both figures lie in [0, 1] and go by `rdx.mine`'s own gamma and beta, whatever the method's are, so that a threshold
    means the same in every run. The pool is what the loss contrasts with, and it may turn over while the confusion's
    distribution stays; the distribution tells how much there is left to correct.

    Args:
        before: f32[p,ds], when the table was mined.
        now: f32[p,ds].
        teacher: f32[p,dt].
        pool_size: hard negatives an image.

    Returns:
        {"drift_pool": the share of an image's hard negatives that are others now; "drift_confusion": the
        Kolmogorov-Smirnov distance between the distributions of confusion}, f32[] each.
    """
    then, present = (rdx.mine(student, teacher, pool_size=pool_size) for student in (before, now))
    stayed = (then.negatives[:, :, None] == present.negatives[:, None, :]).any(axis=2)
    both = jnp.concatenate([then.confusion, present.confusion])
    shares = [
        jnp.searchsorted(jnp.sort(confusion), both, side="right") / len(confusion)
        for confusion in (then.confusion, present.confusion)
    ]
    return dict(zip(NAMES, (1.0 - jnp.mean(stayed), jnp.max(jnp.abs(shares[0] - shares[1]))), strict=True))


def make_measure(num_probes: int) -> Callable[[Array, Array, Array], dict[str, Array]]:
    """`measure` on the devices, with a pool in proportion to the number of images."""
    pool_size = max(1, round(num_probes * _POOL_SHARE))
    return devices.data_parallel(partial(measure, pool_size=pool_size), in_axes=(None, None, None))


def positions(num_examples: int, num_probes: int) -> Array:
    """Where the probe's images stand in the training set, i32[num_probes]: spread evenly."""
    return jnp.linspace(0, num_examples - 1, num_probes).round().astype(jnp.int32)
