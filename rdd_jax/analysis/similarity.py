"""Measures of the similarity of two representations of the same examples, which may differ in width.

All three measures are invariant to rotation, translation and scaling of either space. All functions are pure and run
under `jax.jit`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from rdd_jax.core.types import Array
from rdd_jax.rdx import blockwise, ranking
from rdd_jax.rdx.sorting import argsort_smallest, row_ranks


@jax.jit
def linear_cka(student: Array, teacher: Array) -> Array:
    """Computes linear centred kernel alignment (CKA, Kornblith et al. 2019).

    It is |S'T|^2 / (|S'S| |T'T|), in Frobenius norms of the centred embeddings S and T, which is the alignment of the
    kernels SS' and TT'. Directions of large variance count the most. The measure is biased upwards: unrelated spaces of
    equal variance in all directions have about sqrt(ds * dt) / n, not 0.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt].

    Returns:
        f32[] in [0, 1]; NaN where all examples coincide in one of the spaces.

    Raises:
        ValueError: if the shapes do not fit each other, or for less than three examples.
    """
    _check(student, teacher)
    student, teacher = (ranking.center_columns(embeddings).centered for embeddings in (student, teacher))
    across, within_student, within_teacher = (
        jnp.linalg.norm(jnp.matmul(left.T, right, precision=lax.Precision.HIGHEST))
        for left, right in ((student, teacher), (student, student), (teacher, teacher))
    )
    return across**2 / (within_student * within_teacher)


@functools.partial(jax.jit, static_argnames="block_size")
def rank_correlation(student: Array, teacher: Array, *, block_size: int = 512) -> Array:
    """Computes Spearman's correlation of the neighbourhood ranks of two spaces, averaged over all examples.

    For each example, the other examples are ranked by Euclidean distance in both spaces. Of equal distances the lower
    index ranks first, as in `rdx.rank_normalize`.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt].
        block_size: the largest number of rows that are compared with all columns at once.

    Returns:
        f32[] in [-1, 1].

    Raises:
        ValueError: if the shapes do not fit each other or the block, or for less than three examples.
    """
    _check(student, teacher)

    def correlations(*distances: Array) -> Array:
        # In float32, which holds every rank: the squares would not fit in the ranks' own dtype.
        student_ranks, teacher_ranks = (row_ranks(each).astype(jnp.float32) for each in distances)
        others = len(student) - 1
        squares = jnp.sum((student_ranks - teacher_ranks) ** 2, axis=1)
        return 1 - squares * (6 / (others * (others**2 - 1)))

    return _mean_over_examples(correlations, student, teacher, block_size)


@functools.partial(jax.jit, static_argnames=("neighbors", "block_size"))
def mutual_knn(student: Array, teacher: Array, *, neighbors: int = 10, block_size: int = 512) -> Array:
    """Computes the mutual k-nearest-neighbour alignment (Huh et al. 2024).

    It is the share of an example's k nearest neighbours that are the same in both spaces, averaged over all examples.
    Neighbours are found by Euclidean distance, without the example itself; ties go to the lower index. Unrelated spaces
    share k / (n - 1) of them.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt].
        neighbors: k, less than n.
        block_size: the largest number of rows that are compared with all columns at once.

    Returns:
        f32[] in [0, 1].

    Raises:
        ValueError: if the shapes do not fit each other or the sizes, or for less than three examples.
    """
    _check(student, teacher)
    if not 1 <= neighbors < len(student):
        raise ValueError(
            f"neighbors must be in [1, n); got {neighbors} for student {student.shape}, teacher {teacher.shape}"
        )

    def shares(*distances: Array) -> Array:
        # The example itself comes first.
        in_student, in_teacher = (argsort_smallest(each, neighbors + 1)[:, 1:] for each in distances)
        shared = (in_student[:, :, None] == in_teacher[:, None, :]).any(axis=2)
        return jnp.mean(shared, axis=1)

    return _mean_over_examples(shares, student, teacher, block_size)


def _mean_over_examples(
    reduce_block: Callable[[Array, Array], Array], student: Array, teacher: Array, block_size: int
) -> Array:
    """Returns the mean f32[] of a measure of each example.

    Args:
        reduce_block: computes the measure f32[b] from the distances f32[b,n] in the student's and in the teacher's
            space. The distance of an example to itself is -inf, so that it ranks before examples at the same place.
        student: f32[n,ds].
        teacher: f32[n,dt].
        block_size: the largest b.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1; got {block_size}")
    spaces = [(embeddings, ranking.center_columns(embeddings)) for embeddings in (student, teacher)]

    def one_block(rows: Array) -> Array:
        is_self = rows[:, None] == jnp.arange(len(student))
        return reduce_block(
            *(
                jnp.where(is_self, -jnp.inf, ranking.distances(embeddings[rows], columns))
                for embeddings, columns in spaces
            )
        )

    return jnp.mean(blockwise.map_row_blocks(one_block, len(student), block_size))


def _check(student: Array, teacher: Array) -> None:
    """Raises ValueError for shapes that cannot be compared."""
    shapes = f"student {student.shape}, teacher {teacher.shape}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not student.size or not teacher.size:
        raise ValueError(f"embeddings must be non-empty [n, ds] and [n, dt] with the same n; got {shapes}")
    if len(student) < 3:
        raise ValueError(f"at least three examples are needed; got {shapes}")
