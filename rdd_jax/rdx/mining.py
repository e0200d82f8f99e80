"""Mining of a whole data set: tables of positives, negatives and their weights.

The tables are those of Irakiza & Mugisha 2026 (RDD), from the differences in `rdd_jax.rdx.difference`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx.comparison import check_selection, compile_comparison, map_differences
from rdd_jax.rdx.difference import affinities, confusion
from rdd_jax.rdx.ranking import RankedEmbeddings
from rdd_jax.rdx.sorting import argmax_rows, argsort_smallest


class ContrastTable(NamedTuple):
    """Positives and negatives of each example, as indices in the data set. After mining, an example is never its own.

    positives: i32[n], the column with the largest A01: the teacher groups the pair and the student does not yet.
    negatives: i32[n,pool], the columns with the largest A10, largest first: the student over-groups these pairs.
    confusion: f32[n], the mean of A01 + A10: 2 where the models agree, otherwise more.
    """

    positives: Array
    negatives: Array
    confusion: Array


class TripletTable(NamedTuple):
    """One positive and one negative of each example, as indices in the data set. After mining, it is never its own.

    positives: i32[n], the column with the largest A01.
    negatives: i32[n], the column with the largest A10.
    weights: f32[n], the mean of these two affinities.
    """

    positives: Array
    negatives: Array
    weights: Array


@compile_comparison("pool_size")
def mine(
    student: Array,
    teacher: Array | RankedEmbeddings,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    pool_size: int = 1024,
    candidates: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> ContrastTable:
    """Mines RDD's contrast table from the embeddings of a whole data set.

    positives[i] is the argmax of A01 and negatives[i] the `pool_size` largest A10, largest first. Among equal values
    the lower column comes first.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt], or the result of `rank_embeddings`.
        gamma: the sharpness of the difference, > 0.
        beta: the inverse temperature of the affinities, > 0.
        pool_size: the number of negatives of each example, less than the number of columns.
        candidates: i32[m], distinct examples. Only these are ranked and selected; all n if None.
        block_size: the maximal number of rows that are compared with all columns at once.
        axis_name: inside a mapped function, the axis of the devices that share the rows. Every device passes the whole
            data set and returns the whole table.

    Raises:
        ValueError: if the shapes do not match each other or the sizes, or embeddings are not finite.
    """
    check_selection(student, teacher, candidates, block_size, "pool_size", pool_size)

    def reduce_block(differences: Array, is_self: Array, columns: Array) -> ContrastTable:
        return ContrastTable(
            positives=columns[argmax_rows(jnp.where(is_self, -jnp.inf, differences))],
            negatives=columns[argsort_smallest(jnp.where(is_self, jnp.inf, differences), pool_size)],
            confusion=confusion(affinities(jnp.tanh(gamma * differences), beta), exclude=is_self),
        )

    return map_differences(reduce_block, student, teacher, candidates, block_size, axis_name)


@compile_comparison()
def mine_triplets(
    student: Array,
    teacher: Array | RankedEmbeddings,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    candidates: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> TripletTable:
    """Mines one positive and one negative of each example, with the mean of their affinities.

    Arguments and errors are those of `mine`.
    """
    check_selection(student, teacher, candidates, block_size, "the number of negatives", 1)

    def reduce_block(differences: Array, is_self: Array, columns: Array) -> TripletTable:
        positives = argmax_rows(jnp.where(is_self, -jnp.inf, differences))
        negatives = argmax_rows(jnp.where(is_self, -jnp.inf, -differences))
        chosen = jnp.take_along_axis(differences, jnp.stack([positives, negatives], axis=1), axis=1)
        teacher_unique, student_unique = affinities(jnp.tanh(gamma * chosen), beta)
        weights = (teacher_unique[:, 0] + student_unique[:, 1]) / 2
        return TripletTable(columns[positives], columns[negatives], weights)

    return map_differences(reduce_block, student, teacher, candidates, block_size, axis_name)
