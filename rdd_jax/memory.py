"""Memory of past embeddings: a bank with one row per example and a queue. Both are pytrees with pure updates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize


class MemoryBank(NamedTuple):
    """One unit vector per training example for each network.

    student: f32[N,d].
    teacher: f32[N,d].
    """

    student: Array
    teacher: Array


class FifoQueue(NamedTuple):
    """The latest embeddings, in a ring.

    vectors: f32[size,d].
    cursor: i32[], the row at which the next batch is written.
    """

    vectors: Array
    cursor: Array


def random_vectors(rng: Array, num_examples: int, dim: int) -> Array:
    """Draws initial vectors f32[num_examples,dim] of about unit length: uniform, variance 1/dim (CRD's release)."""
    bound = (3.0 / dim) ** 0.5
    return jax.random.uniform(rng, (num_examples, dim), jnp.float32, -bound, bound)


def init_bank(rng: Array, num_examples: int, dim: int) -> MemoryBank:
    """Makes a bank of random vectors."""
    student_rng, teacher_rng = jax.random.split(rng)
    return MemoryBank(random_vectors(student_rng, num_examples, dim), random_vectors(teacher_rng, num_examples, dim))


def momentum_update(vectors: Array, indices: Array, embeddings: Array, momentum: float) -> Array:
    """Moves rows of a bank towards new embeddings and normalises them to unit length (Tian et al. 2020, eq. 18).

    Args:
        vectors: f32[N,d], the bank of one network.
        indices: i32[b], the rows to move. If an index repeats, its last occurrence counts.
        embeddings: f32[b,d], the new vectors; no gradient flows to them.
        momentum: the weight of the old vector, in [0, 1].

    Returns:
        f32[N,d].

    Raises:
        ValueError: if the shapes do not match.
    """
    if vectors.ndim != 2 or embeddings.shape != (*indices.shape, vectors.shape[1]) or indices.ndim != 1:
        raise ValueError(
            "momentum_update needs vectors [N,d], indices [b], embeddings [b,d]; "
            f"got {vectors.shape}, {indices.shape}, {embeddings.shape}"
        )
    embeddings = jax.lax.stop_gradient(embeddings).astype(vectors.dtype)
    moved = l2_normalize(momentum * vectors[indices] + (1.0 - momentum) * embeddings)
    return replace_rows(vectors, indices, moved)


def replace_rows(table: Array, indices: Array, rows: Array) -> Array:
    """Returns the table f32[N,d] with other rows f32[b,d] at indices i32[b]. The last of repeated indices counts."""
    # A scatter with repeated indices has no defined order, which would let replicas differ. Only the last is written.
    table = jnp.asarray(table)
    later = jnp.triu(indices[:, None] == indices[None, :], k=1).any(axis=1)
    return table.at[jnp.where(later, table.shape[0], indices)].set(rows, mode="drop")


def init_queue(rng: Array, size: int, dim: int) -> FifoQueue:
    """Makes a queue of random unit vectors."""
    return FifoQueue(l2_normalize(random_vectors(rng, size, dim)), jnp.zeros((), jnp.int32))


def enqueue(queue: FifoQueue, embeddings: Array) -> FifoQueue:
    """Replaces the oldest rows by embeddings f32[b,d]; no gradient flows to them.

    If the batch is larger than the queue, its last rows are kept.

    Raises:
        ValueError: if the embeddings are not [b,d] with the queue's d.
    """
    size, dim = queue.vectors.shape
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise ValueError(f"enqueue needs embeddings [b,{dim}]; got {embeddings.shape}")
    embeddings = jax.lax.stop_gradient(embeddings[-size:]).astype(queue.vectors.dtype)
    rows = (queue.cursor + jnp.arange(len(embeddings))) % size
    vectors = jnp.asarray(queue.vectors).at[rows].set(embeddings)
    return FifoQueue(vectors, (queue.cursor + len(embeddings)) % size)
