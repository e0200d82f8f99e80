"""Data parallelism over the devices of all processes. This is the only file that calls `jax.pmap`.

A function that runs on the devices is written for one of them, with explicit collectives over the axis `AXIS`. Its
state is replicated and not stacked: each array is one `jax.Array` of its own shape, with a copy on every device.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"


def replicated_sharding() -> NamedSharding:
    """Returns the sharding of arrays that are replicated on all local devices."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())


def replicate(tree: Any) -> Any:
    """Copies every leaf to every local device.

    The result may share buffers with `tree`: do not use `tree` again where the result is donated.
    """
    return jax.device_put(tree, replicated_sharding())


def data_parallel(
    fn: Callable[..., Any], *, in_axes: tuple[Any, ...], donated: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Compiles a function of one device to run on all local devices.

    Args:
        fn: a function whose outputs are the same on all devices, because it reduces or gathers over `AXIS`.
        in_axes: for each argument 0, if its leading axis is split over the devices, or None, if it is replicated; a
            pytree of these for an argument that has parts of both kinds.
        donated: the positions of the arguments whose buffers the outputs may reuse.

    Returns:
        A function of the split and replicated arguments. Its outputs are replicated.
    """
    if 0 in jax.tree.leaves(in_axes):
        return jax.pmap(fn, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=donated)
    # pmap requires a split argument, so each device is passed its number, which is not used.
    numbered = data_parallel(
        lambda _, *args: fn(*args), in_axes=(0, *in_axes), donated=tuple(position + 1 for position in donated)
    )
    return lambda *args: numbered(np.arange(jax.local_device_count()), *args)


def split_over_devices(rows: np.ndarray) -> np.ndarray:
    """Splits the last axis over the devices: [..., devices*b] -> [local devices, ..., b], in consecutive pieces.

    Every process passes the rows of all devices and receives those of its own.
    """
    split = np.moveaxis(rows.reshape(*rows.shape[:-1], jax.device_count(), -1), -2, 0)
    first = jax.process_index() * jax.local_device_count()
    return split[first : first + jax.local_device_count()]


def padded_index_batches(num_examples: int, batch_size: int) -> np.ndarray:
    """Divides the indices 0..num_examples-1 into batches, split over the devices: i32[batches, local devices, b].

    The last batch is filled up with -1. The batch size is rounded up to a multiple of the number of devices.
    """
    devices = jax.device_count()
    rows = -(-min(batch_size, num_examples) // devices) * devices
    batches = -(-num_examples // rows)
    indices = np.full(batches * rows, -1, np.int32)
    indices[:num_examples] = np.arange(num_examples, dtype=np.int32)
    return np.stack([split_over_devices(batch) for batch in indices.reshape(batches, rows)])


def per_device_copies(array: jax.Array) -> list[np.ndarray]:
    """Fetches each local device's copy of a replicated array, to compare them."""
    return [np.asarray(shard.data) for shard in array.addressable_shards]
