"""Difficulty of training examples, for curricula: how strongly the teacher groups what the student does not."""

import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx.comparison import check_selection, compile_comparison, map_differences
from rdd_jax.rdx.difference import affinities
from rdd_jax.rdx.ranking import RankedEmbeddings
from rdd_jax.rdx.sorting import argsort_smallest


@compile_comparison("neighbors")
def difficulty(
    student: Array,
    teacher: Array | RankedEmbeddings,
    *,
    gamma: float,
    beta: float,
    neighbors: int = 8,
    candidates: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> Array:
    """Sums the `neighbors` largest A01 of each example over the other examples, f32[n]: high is hard.

    The sum saturates: with an untrained student nearly all examples have the same. `difficulty_order` breaks the ties.
    Other arguments and errors are those of `mine`.
    """
    largest = _largest_differences(student, teacher, neighbors, candidates, block_size, axis_name)
    return _sum_affinities(largest, gamma, beta)


@compile_comparison("neighbors")
def difficulty_order(
    student: Array,
    teacher: Array | RankedEmbeddings,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    neighbors: int = 8,
    candidates: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> Array:
    """Sorts all examples from the easiest to the hardest by `difficulty`: i32[n], indices in the data set.

    Of equal difficulty, the example with the smaller mean of `relative_difference` over these neighbours is easier.
    Arguments and errors are those of `difficulty`.
    """
    largest = _largest_differences(student, teacher, neighbors, candidates, block_size, axis_name)
    return jnp.lexsort((jnp.mean(largest, axis=1), _sum_affinities(largest, gamma, beta))).astype(jnp.int32)


def _sum_affinities(differences: Array, gamma: float, beta: float) -> Array:
    """Sums A01 over the pairs of each example, f32[n] of relative differences f32[n,neighbors]."""
    return jnp.sum(affinities(jnp.tanh(gamma * differences), beta).teacher_unique, axis=1)


def _largest_differences(
    student: Array,
    teacher: Array | RankedEmbeddings,
    neighbors: int,
    candidates: Array | None,
    block_size: int,
    axis_name: str | None,
) -> Array:
    """Selects each example's largest relative differences to other examples, f32[n,neighbors]."""
    check_selection(student, teacher, candidates, block_size, "neighbors", neighbors)

    def reduce_block(differences: Array, is_self: Array, _: Array) -> Array:
        largest = argsort_smallest(jnp.where(is_self, jnp.inf, -differences), neighbors)
        return jnp.take_along_axis(differences, largest, axis=1)

    return map_differences(reduce_block, student, teacher, candidates, block_size, axis_name)
