"""Communication between devices, and random keys that do not depend on their number.

`axis_name` is the mapped axis of the devices, or None outside a mapped function, where there is one device.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

T = TypeVar("T")


def all_gather(rows: T, axis_name: str | None) -> T:
    """Concatenates the rows [b,...] of all devices, in their order: [devices*b,...], of every leaf. Differentiable."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """Averages every leaf of a pytree over the devices."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def global_row_indices(num_rows: int, axis_name: str | None) -> Array:
    """Returns the indices i32[num_rows] of this device's rows in the global batch."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * num_rows
    return first + jnp.arange(num_rows)


def keys_for_rows(rng: Array, row_indices: Array) -> Array:
    """Derives one key, key[b], for each index i32[b] of a row in the global batch.

    The keys depend on `rng` and the index alone, so that they are the same on any number of devices.
    """
    return jax.vmap(lambda index: jax.random.fold_in(rng, index))(row_indices)


def fold_into_keys(keys: Array, stream: int) -> Array:
    """Derives key[b] from key[b], for random draws of another kind, by a number that tells them from all others.

    The number should be large, because the keys of small ones are those of `jax.random.split`.
    """
    return jax.vmap(lambda key: jax.random.fold_in(key, stream))(keys)


def keys_for_local_rows(rng: Array, num_rows: int, axis_name: str | None) -> Array:
    """Derives one key, key[num_rows], for each of this device's rows, as `keys_for_rows`."""
    return keys_for_rows(rng, global_row_indices(num_rows, axis_name))
