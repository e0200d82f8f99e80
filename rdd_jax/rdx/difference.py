"""The difference between two models' rankings of neighbours, and the affinities and confusion derived from it.

The difference is that of Kondapaneni et al. 2025 (RDX); the affinities A01 and A10 and the confusion are those of
Irakiza & Mugisha 2026 (RDD). All functions are pure and run under `jax.jit` and `jax.vmap`. None is differentiable in
the embeddings, because ranks are integers.
"""

from typing import NamedTuple

import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx.ranking import center_columns, distances
from rdd_jax.rdx.sorting import row_ranks


class Affinities(NamedTuple):
    """The strength with which one model, and not the other, groups row i with column j.

    teacher_unique: f32[n,m], A01, above 1 where the teacher groups the pair more than the student.
    student_unique: f32[n,m], A10, above 1 where the student groups the pair more than the teacher.
    """

    teacher_unique: Array
    student_unique: Array


def pairwise_distances(rows: Array, columns: Array) -> Array:
    """Computes the Euclidean distances f32[n,m] between rows [n,d] and columns [m,d] of any float dtype."""
    return distances(rows, center_columns(columns))


def rank_normalize(distances: Array) -> Array:
    """Returns the 0-based position i32[n,m] of column j in row i's ascending order of distances f32[n,m].

    Among equal distances the lower column ranks first; NaNs rank last. Ranks of two models can be compared, while
    their distances are on different scales.
    """
    return row_ranks(distances).astype(jnp.int32)


def locally_biased_difference(student_ranks: Array, teacher_ranks: Array, gamma: float) -> Array:
    """Computes RDX's difference tanh(gamma * (rS - rT) / (min(rS, rT) + 1)), f32[n,m].

    It is positive where the teacher groups the pair and the student does not yet, and negative where the student
    over-groups it. The division by the smaller rank makes disagreement about near neighbours count more.

    Args:
        student_ranks: i32[n,m].
        teacher_ranks: i32[n,m].
        gamma: the sharpness, > 0.
    """
    return jnp.tanh(gamma * relative_difference(student_ranks, teacher_ranks))


def relative_difference(student_ranks: Array, teacher_ranks: Array) -> Array:
    """Computes (rS - rT) / (min(rS, rT) + 1), the difference before gamma and tanh: f32[n,m].

    Affinities increase or decrease with it, so that it selects the same pairs. Selection uses it because tanh saturates
    in float32: the affinities of the most extreme pairs of a large set would tie.

    Args:
        student_ranks: [n,m] of any integer dtype.
        teacher_ranks: [n,m] of any integer dtype.
    """
    student_ranks, teacher_ranks = student_ranks.astype(jnp.int32), teacher_ranks.astype(jnp.int32)
    smaller = jnp.minimum(student_ranks, teacher_ranks)
    return (student_ranks - teacher_ranks).astype(jnp.float32) / (smaller + 1).astype(jnp.float32)


def affinities(difference: Array, beta: float) -> Affinities:
    """Computes A01 = exp(beta * difference) and A10 = exp(-beta * difference).

    Args:
        difference: f32[n,m], as of `locally_biased_difference`.
        beta: the inverse temperature, > 0.
    """
    return Affinities(teacher_unique=jnp.exp(beta * difference), student_unique=jnp.exp(-beta * difference))


def confusion(affinities: Affinities, exclude: Array) -> Array:
    """Averages A01 + A10 over each row's columns that are not excluded: RDX confusion f32[n].

    Args:
        affinities: f32[n,m] each.
        exclude: bool[n,m]; a row whose columns are all excluded gives NaN.
    """
    return jnp.mean(affinities.teacher_unique + affinities.student_unique, axis=1, where=~exclude)
