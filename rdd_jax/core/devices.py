"""The devices of all processes: the only file that says pmap.

Every function that runs on the devices is written for one of them, with explicit collectives over `AXIS`. State is
never stacked: a replicated array is one array that lives whole on every device.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"


def replicated_sharding() -> NamedSharding:
    """Where replicated arrays live: whole, on each local device."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())


def replicate(tree: Any) -> Any:
    """Places every leaf whole on every local device.

    The result may share the buffers of `tree`: what is donated must not come from a tree that is used again.
    """
    return jax.device_put(tree, replicated_sharding())


def data_parallel(
    fn: Callable[..., Any], *, in_axes: tuple[int | None, ...], donated: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Runs the function of one device on all local devices at once.

    Args:
        fn: its outputs are the same on all devices: it reduces or gathers over `AXIS`.
        in_axes: for each argument 0, where it is split over the devices on a leading axis, or None, where it is
            replicated.
        donated: the arguments whose buffers are given up to the outputs.

    Returns:
        The function of replicated and split arguments; its outputs are replicated.
    """
    if 0 in in_axes:
        return jax.pmap(fn, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=donated)
    # pmap wants a split argument: each device gets its number, and need not look at it.
    numbered = data_parallel(
        lambda _, *args: fn(*args), in_axes=(0, *in_axes), donated=tuple(position + 1 for position in donated)
    )
    return lambda *args: numbered(np.arange(jax.local_device_count()), *args)


def split_rows(rows: np.ndarray) -> np.ndarray:
    """[..., devices*b] -> [local devices, ..., b]: consecutive rows go to the same device.

    Every process is given all the rows, and keeps those of its own devices.
    """
    split = np.moveaxis(rows.reshape(*rows.shape[:-1], jax.device_count(), -1), -2, 0)
    first = jax.process_index() * jax.local_device_count()
    return split[first : first + jax.local_device_count()]


def padded_batches(num_examples: int, batch_size: int) -> np.ndarray:
    """All positions 0..n-1 in order, i32[batches,local devices,b]; -1 where the last batch is not full."""
    devices = jax.device_count()
    rows = -(-min(batch_size, num_examples) // devices) * devices
    batches = -(-num_examples // rows)
    places = np.full(batches * rows, -1, np.int32)
    places[:num_examples] = np.arange(num_examples, dtype=np.int32)
    return np.stack([split_rows(batch) for batch in places.reshape(batches, rows)])


def per_device_copies(array: jax.Array) -> list[np.ndarray]:
    """Each device's copy of a replicated array, to compare them."""
    return [np.asarray(shard.data) for shard in array.addressable_shards]
