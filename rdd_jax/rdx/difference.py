"""The difference between two rankings of neighbours, pair by pair, and the affinities and confusion made of it.

Representational differences are Kondapaneni et al. 2025 (RDX); the affinities A01 and A10 and the confusion are
Irakiza & Mugisha 2026 (RDD). Everything here is a pure function of arrays that runs under `jax.jit` and `jax.vmap`.
Nothing is differentiable: ranks are integers.
"""

from typing import NamedTuple

import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx import blockwise
from rdd_jax.rdx.sorting import ranks


class Affinities(NamedTuple):
    """How strongly one model alone groups row i and column j, f32[n,m] each: A01 (teacher) and A10 (student)."""

    teacher_unique: Array
    student_unique: Array


def pairwise_distances(rows: Array, columns: Array) -> Array:
    """Euclidean distances f32[n,m] between rows [n,d] and columns [m,d], in float32 whatever the inputs' dtype."""
    return blockwise.distances(rows, blockwise.columns_of(columns))


def rank_normalize(distances: Array) -> Array:
    """The 0-based position i32[n,m] of column j in row i's ascending order of distances f32[n,m].

    Of equal distances the lower column ranks first; NaNs rank last. Ranks are comparable between models where
    distances, each on a scale of its own, are not.
    """
    return ranks(distances).astype(jnp.int32)


def locally_biased_difference(student_ranks: Array, teacher_ranks: Array, gamma: float) -> Array:
    """RDX's difference tanh(gamma * (rS - rT) / (min(rS, rT) + 1)), f32[n,m] from ranks i32[n,m].

    Positive where the teacher groups the pair and the student has yet to, negative where the student over-groups it.
    Dividing by the smaller rank makes a disagreement about near neighbours count for more. gamma > 0.
    """
    return jnp.tanh(gamma * relative_difference(student_ranks, teacher_ranks))


def relative_difference(student_ranks: Array, teacher_ranks: Array) -> Array:
    """The difference before gamma and tanh, f32[n,m] from ranks [n,m] of any integer dtype: what is selected on.

    Affinities are monotone in it, but tanh saturates in float32: by affinity, the most extreme pairs of a large set
    would all tie and be told apart by nothing but their column. Here they keep their order.
    """
    student_ranks, teacher_ranks = student_ranks.astype(jnp.int32), teacher_ranks.astype(jnp.int32)
    nearer = jnp.minimum(student_ranks, teacher_ranks)
    return (student_ranks - teacher_ranks).astype(jnp.float32) / (nearer + 1).astype(jnp.float32)


def affinities(difference: Array, beta: float) -> Affinities:
    """A01 = exp(beta * difference) and A10 = exp(-beta * difference), f32[n,m] each. beta > 0."""
    return Affinities(teacher_unique=jnp.exp(beta * difference), student_unique=jnp.exp(-beta * difference))


def confusion(affinities: Affinities, exclude: Array) -> Array:
    """Mean f32[n] of A01 + A10 over the columns not excluded (bool[n,m]); NaN for a row with none left."""
    return jnp.mean(affinities.teacher_unique + affinities.student_unique, axis=1, where=~exclude)
