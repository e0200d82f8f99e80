"""Memory of past embeddings: immutable pytrees and their pure updates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize


class MemoryBank(NamedTuple):
    """One unit vector an example of the training set and network: student f32[N,d], teacher f32[N,d]."""

    student: Array
    teacher: Array


class FifoQueue(NamedTuple):
    """The latest embeddings: vectors f32[size,d], and the row i32[] that the next batch starts to overwrite."""

    vectors: Array
    cursor: Array


def random_vectors(rng: Array, num_examples: int, dim: int) -> Array:
    """Starting vectors f32[num_examples,dim], uniform with variance 1/dim: of about unit length (CRD's release)."""
    bound = (3.0 / dim) ** 0.5
    return jax.random.uniform(rng, (num_examples, dim), jnp.float32, -bound, bound)


def init_bank(rng: Array, num_examples: int, dim: int) -> MemoryBank:
    """A bank of random vectors for both networks."""
    student_rng, teacher_rng = jax.random.split(rng)
    return MemoryBank(random_vectors(student_rng, num_examples, dim), random_vectors(teacher_rng, num_examples, dim))


def momentum_update(vectors: Array, indices: Array, embeddings: Array, momentum: float) -> Array:
    """Moves the rows `indices` towards `embeddings` and scales them back to unit length (Tian et al. 2020, eq. 18).

    Args:
        vectors: f32[N,d], the bank of one network.
        indices: i32[b], the rows to move. Where one repeats, its last place in the batch counts.
        embeddings: f32[b,d], the new vectors; no gradient flows through them.
        momentum: the share of the old vector that stays, in [0, 1].

    Returns:
        f32[N,d].

    Raises:
        ValueError: where the shapes do not fit.
    """
    if vectors.ndim != 2 or embeddings.shape != (*indices.shape, vectors.shape[1]) or indices.ndim != 1:
        raise ValueError(
            "momentum_update needs vectors [N,d], indices [b], embeddings [b,d]; "
            f"got {vectors.shape}, {indices.shape}, {embeddings.shape}"
        )
    embeddings = jax.lax.stop_gradient(embeddings).astype(vectors.dtype)
    moved = l2_normalize(momentum * vectors[indices] + (1.0 - momentum) * embeddings)
    # A scatter of repeated indices has no defined order, and replicas must not differ: all but the last are dropped.
    vectors = jnp.asarray(vectors)
    later = jnp.triu(indices[:, None] == indices[None, :], k=1).any(axis=1)
    return vectors.at[jnp.where(later, vectors.shape[0], indices)].set(moved, mode="drop")


def init_queue(rng: Array, size: int, dim: int) -> FifoQueue:
    """A queue of random unit vectors."""
    return FifoQueue(l2_normalize(random_vectors(rng, size, dim)), jnp.zeros((), jnp.int32))


def enqueue(queue: FifoQueue, embeddings: Array) -> FifoQueue:
    """Writes `embeddings` f32[b,d] over the oldest rows; no gradient flows through them.

    Of a batch larger than the queue the last rows stay.

    Raises:
        ValueError: where the embeddings are not rows like the queue's.
    """
    size, dim = queue.vectors.shape
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise ValueError(f"enqueue needs embeddings [b,{dim}]; got {embeddings.shape}")
    embeddings = jax.lax.stop_gradient(embeddings[-size:]).astype(queue.vectors.dtype)
    rows = (queue.cursor + jnp.arange(len(embeddings))) % size
    vectors = jnp.asarray(queue.vectors).at[rows].set(embeddings)
    return FifoQueue(vectors, (queue.cursor + len(embeddings)) % size)
