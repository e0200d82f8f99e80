"""What one device needs to know of the others. `axis_name` is the mapped axis, or None where there is but one."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array


def all_gather(rows: Array, axis_name: str | None) -> Array:
    """This device's rows [b,...] -> those of all devices [devices*b,...], in the devices' order. Differentiable."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def mean(tree, axis_name: str | None):
    """The mean over the devices of every leaf."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def row_places(rows: int, axis_name: str | None) -> Array:
    """The places i32[rows] of this device's rows in the global batch."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * rows
    return first + jnp.arange(rows)


def place_keys(rng: Array, places: Array) -> Array:
    """One key for each place in the global batch, key[b] of i32[b]: no split over devices changes it."""
    return jax.vmap(lambda place: jax.random.fold_in(rng, place))(places)


def row_keys(rng: Array, rows: int, axis_name: str | None) -> Array:
    """One key for each row of this device, key[rows], by its place in the global batch."""
    return place_keys(rng, row_places(rows, axis_name))
