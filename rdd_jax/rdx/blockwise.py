"""Computation of rows in blocks, which bounds the memory and divides the rows among devices."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from rdd_jax.core.types import Array

Tree = TypeVar("Tree")  # A pytree of arrays.


def map_row_blocks(
    reduce_block: Callable[[Array], Tree], num_rows: int, block_size: int, axis_name: str | None = None
) -> Tree:
    """Applies a function to all rows, in blocks.

    Args:
        reduce_block: maps the indices i32[b] of a block's rows to a pytree with leaves [b,...].
        num_rows: the number of rows.
        block_size: the maximal b.
        axis_name: the mapped axis of the devices that share the rows, or None outside a mapped function.

    Returns:
        The pytree with leaves [num_rows,...], the same on every device.
    """
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    share = -(-num_rows // devices)
    blocks = -(-share // block_size)
    block = -(-share // blocks)  # Blocks of equal size, so that the last overlaps the one before as little as possible.
    first = 0 if axis_name is None else lax.axis_index(axis_name) * share

    def one_block(i: Array, done: Tree) -> Tree:
        start = jnp.minimum(i * block, share - block)
        # The last device may have fewer rows than its share. It repeats the last row, which is cut off below.
        reduced = reduce_block(jnp.minimum(first + start + jnp.arange(block), num_rows - 1))
        return jax.tree.map(lambda rows, new: lax.dynamic_update_slice_in_dim(rows, new, start, axis=0), done, reduced)

    shapes = jax.eval_shape(reduce_block, jax.ShapeDtypeStruct((block,), jnp.int32))
    done = jax.tree.map(lambda leaf: jnp.zeros((share, *leaf.shape[1:]), leaf.dtype), shapes)
    done = lax.fori_loop(0, blocks, one_block, done)
    if axis_name is not None:
        done = lax.all_gather(done, axis_name, tiled=True)
    return jax.tree.map(lambda leaf: leaf[:num_rows], done)
