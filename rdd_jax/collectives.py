"""What one device needs to know of the others. `axis_name` is the mapped axis, or None where there is but one."""

import jax
import jax.numpy as jnp

from rdd_jax.types import Array


def all_gather(rows: Array, axis_name: str | None) -> Array:
    """This device's rows [b,...] -> those of all devices [devices*b,...], in the devices' order. Differentiable."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def mean(tree, axis_name: str | None):
    """The mean over the devices of every leaf."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def row_keys(rng: Array, rows: int, axis_name: str | None) -> Array:
    """One key a row of this device, key[rows], by the row's place in the global batch: no split changes it."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * rows
    return jax.vmap(lambda place: jax.random.fold_in(rng, place))(first + jnp.arange(rows))
