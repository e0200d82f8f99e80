"""Rows of ranks, a block at a time: what bounds the memory of the diagnostic and shares it out over devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rdd_jax.core.types import Array
from rdd_jax.rdx.sorting import ranks


class Ranked(NamedTuple):
    """The embeddings of a model that does not change, with what each example's neighbours rank: see `rdx.ranked`.

    embeddings: f32[n,d].
    ranks: u16[n,n] (i32 when n > 65,536), the position of column j in row i's ascending order of distances.
    """

    embeddings: Array
    ranks: Array


def embeddings_of(model: Array | Ranked) -> Array:
    """Returns the embeddings f32[n,d] of a model that is given by them, with its ranks or without."""
    return model.embeddings if isinstance(model, Ranked) else model


class Columns(NamedTuple):
    """Embeddings f32[m,d] less their mean f32[d], and their squared norms f32[m]: what every block of rows needs."""

    centered: Array
    center: Array
    squares: Array


def columns_of(embeddings: Array) -> Columns:
    """Prepares embeddings [m,d] of any float dtype for `distances`."""
    embeddings = embeddings.astype(jnp.float32)
    # |r|^2 + |c|^2 - 2rc cancels badly when a large common offset dominates both norms.
    center = embeddings.mean(axis=0)
    centered = embeddings - center
    return Columns(centered, center, jnp.sum(centered**2, axis=1))


def distances(rows: Array, columns: Columns) -> Array:
    """Euclidean distances f32[n,m] between rows [n,d] and columns."""
    rows = rows.astype(jnp.float32) - columns.center
    products = jnp.matmul(rows, columns.centered.T, precision=lax.Precision.HIGHEST)
    squared = jnp.sum(rows**2, axis=1)[:, None] + columns.squares - 2 * products
    return jnp.sqrt(jnp.maximum(squared, 0.0))


def ranker(model: Array | Ranked, anchors: Array | None) -> Callable[[Array, Array], Array]:
    """-> (rows i32[b], is_self bool[b,m]) -> the ranks [b,m] of the anchors, or of all columns, as `ranks_dtype(m)`."""
    if isinstance(model, Ranked) and anchors is None:
        return lambda rows, is_self: model.ranks[rows]
    embeddings = embeddings_of(model)
    columns = columns_of(embeddings if anchors is None else embeddings[anchors])
    # A row is at distance 0 from itself, which the rounding of the matmul does not promise.
    return lambda rows, is_self: ranks(jnp.where(is_self, 0.0, distances(embeddings[rows], columns)))


def map_row_blocks(
    reduce_block: Callable[[Array], Any], num_rows: int, block_size: int, axis_name: str | None = None
) -> Any:
    """Applies `reduce_block(rows i32[b])` to all rows, b at most `block_size` at a time.

    Returns what it returns, with leaves [num_rows,...] for [b,...]: the same on every device of `axis_name`, which
    shares out the rows.
    """
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    share = -(-num_rows // devices)
    blocks = -(-share // block_size)
    block = -(-share // blocks)  # Equal blocks, so that the last overlaps the one before by little.
    first = 0 if axis_name is None else lax.axis_index(axis_name) * share

    def one_block(i, done):
        start = jnp.minimum(i * block, share - block)
        # The last device may have less than its share: it repeats the last row, which is cut off below.
        reduced = reduce_block(jnp.minimum(first + start + jnp.arange(block), num_rows - 1))
        return jax.tree.map(lambda rows, new: lax.dynamic_update_slice_in_dim(rows, new, start, axis=0), done, reduced)

    shapes = jax.eval_shape(reduce_block, jax.ShapeDtypeStruct((block,), jnp.int32))
    done = jax.tree.map(lambda leaf: jnp.zeros((share, *leaf.shape[1:]), leaf.dtype), shapes)
    done = lax.fori_loop(0, blocks, one_block, done)
    if axis_name is not None:
        done = lax.all_gather(done, axis_name, tiled=True)
    return jax.tree.map(lambda leaf: leaf[:num_rows], done)
