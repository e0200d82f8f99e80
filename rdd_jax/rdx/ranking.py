"""Ranks of neighbours: the position of each example in another's ascending order of distances."""

import functools
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from rdd_jax.core.types import Array
from rdd_jax.rdx.blockwise import map_row_blocks
from rdd_jax.rdx.sorting import ranks_dtype, row_ranks


class RankedEmbeddings(NamedTuple):
    """Embeddings with the ranks of all pairs, computed once by `rank_embeddings` for a model that does not change.

    embeddings: f32[n,d].
    ranks: u16[n,n] (i32 for n > 65,536), the position of column j in row i's ascending order of distances.
    """

    embeddings: Array
    ranks: Array


class RankFn(Protocol):
    """Ranks the columns for a block of rows."""

    def __call__(self, rows: Array, is_self: Array, /) -> Array:
        """Returns the ranks [b,m], of dtype `ranks_dtype(m)`, of all columns in the order of distances.

        Args:
            rows: i32[b], indices of examples.
            is_self: bool[b,m], the pairs of an example with itself, whose distance is 0.
        """
        ...


class CenteredColumns(NamedTuple):
    """Embeddings in the form that `distances` needs for every block of rows.

    centered: f32[m,d], the embeddings minus their mean.
    center: f32[d], the mean.
    squares: f32[m], the squared norms of `centered`.
    """

    centered: Array
    center: Array
    squares: Array


def embeddings_of(embeddings: Array | RankedEmbeddings) -> Array:
    """Returns embeddings f32[n,d], given with or without ranks, as an array."""
    return embeddings.embeddings if isinstance(embeddings, RankedEmbeddings) else embeddings


def center_columns(embeddings: Array) -> CenteredColumns:
    """Prepares embeddings [m,d] of any float dtype for `distances`."""
    embeddings = embeddings.astype(jnp.float32)
    # |r|^2 + |c|^2 - 2rc loses its digits when both norms are dominated by a common offset.
    center = embeddings.mean(axis=0)
    centered = embeddings - center
    return CenteredColumns(centered, center, jnp.sum(centered**2, axis=1))


def distances(rows: Array, columns: CenteredColumns) -> Array:
    """Computes the Euclidean distances f32[n,m] between rows [n,d] and columns."""
    rows = rows.astype(jnp.float32) - columns.center
    products = jnp.matmul(rows, columns.centered.T, precision=lax.Precision.HIGHEST)
    squared = jnp.sum(rows**2, axis=1)[:, None] + columns.squares - 2 * products
    return jnp.sqrt(jnp.maximum(squared, 0.0))


def make_rank_fn(embeddings: Array | RankedEmbeddings, candidates: Array | None) -> RankFn:
    """Returns the function that ranks the candidates i32[m], or all n examples if None, for blocks of rows.

    Args:
        embeddings: f32[n,d], or the same with ranks, which are looked up if all examples are candidates.
        candidates: the examples that are ranked.
    """
    if isinstance(embeddings, RankedEmbeddings) and candidates is None:
        return lambda rows, is_self: embeddings.ranks[rows]
    vectors = embeddings_of(embeddings)
    columns = center_columns(vectors if candidates is None else vectors[candidates])
    # Rounding in the matrix product may give an example a positive distance from itself.
    return lambda rows, is_self: row_ranks(jnp.where(is_self, 0.0, distances(vectors[rows], columns)))


@functools.partial(jax.jit, static_argnames=("block_size", "axis_name"))
def rank_embeddings(embeddings: Array, *, block_size: int = 512, axis_name: str | None = None) -> RankedEmbeddings:
    """Ranks all pairs of examples, to mine with the same teacher many times.

    The ranks take `ranks_nbytes(n)` bytes on every device.

    Args:
        embeddings: f32[n,d].
        block_size: the maximal number of rows whose distances are held at once.
        axis_name: the mapped axis of the devices that share the rows; every device returns all ranks.

    Raises:
        ValueError: if the embeddings are empty or not a matrix, or block_size is below 1.
    """
    if embeddings.ndim != 2 or not embeddings.size or block_size < 1:
        raise ValueError(
            f"rank_embeddings needs non-empty embeddings [n,d], block_size >= 1; got {embeddings.shape}, {block_size}"
        )
    n, rank = len(embeddings), make_rank_fn(embeddings, candidates=None)

    def rank_block(rows: Array) -> Array:
        return rank(rows, rows[:, None] == jnp.arange(n))

    return RankedEmbeddings(embeddings, map_row_blocks(rank_block, n, block_size, axis_name))


def ranks_nbytes(num_examples: int) -> int:
    """Returns the size in bytes of the ranks of `rank_embeddings`."""
    return num_examples**2 * ranks_dtype(num_examples).itemsize
