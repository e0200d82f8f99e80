"""Tables of positives, hard negatives, confusion and difficulty, mined from the embeddings of a whole data set.

Mining is Irakiza & Mugisha 2026 (RDD), on the differences of `rdd_jax.rdx.difference`. Rows are mined in blocks, so
that nothing holds more than block x columns values.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx import blockwise
from rdd_jax.rdx.blockwise import Ranked, embeddings_of
from rdd_jax.rdx.difference import affinities, confusion, relative_difference
from rdd_jax.rdx.sorting import first_largest, ranks_dtype, smallest


class TripletTable(NamedTuple):
    """The strongest pair of either kind for each example; indices as in `ContrastTable`.

    positives: i32[n], the example's largest A01.
    negatives: i32[n], its largest A10.
    weights: f32[n], the mean of the two affinities.
    """

    positives: Array
    negatives: Array
    weights: Array


class ContrastTable(NamedTuple):
    """What each example should be contrasted with; indices are positions in the data set, never the example's own.

    positives: i32[n], whom the teacher groups with the example and the student has yet to.
    negatives: i32[n,pool], whom the student over-groups with it, the worst first.
    confusion: f32[n], mean of A01 + A10: 2 where the models agree, more where they do not.
    """

    positives: Array
    negatives: Array
    confusion: Array


def _is_finite(embeddings: Array) -> bool:
    with jax.ensure_compile_time_eval():  # Also where the caller is being traced, but not these embeddings.
        return bool(jnp.isfinite(embeddings).all())


def _refuse_nonfinite(mined: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function of (student, teacher) so that it raises ValueError for embeddings with NaN or infinity.

    Ranks of those would be finite, and mean nothing. Inside of `jax.jit` values are not known: there the tables' float
    columns become NaN.
    """

    @functools.wraps(mined)
    def checked(student, teacher, **arguments):
        for name, embeddings in {"student": student, "teacher": embeddings_of(teacher)}.items():
            if not isinstance(embeddings, jax.core.Tracer) and not _is_finite(embeddings):
                raise ValueError(f"{name} embeddings {embeddings.shape} are not finite: there is nothing to rank")
        return mined(student, teacher, **arguments)

    return checked


@_refuse_nonfinite
@functools.partial(jax.jit, static_argnames=("pool_size", "block_size", "axis_name"))
def mine(
    student: Array,
    teacher: Array | Ranked,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    pool_size: int = 1024,
    anchors: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> ContrastTable:
    """Mines RDD's contrast table from the embeddings of a whole data set.

    positives[i] is the argmax of A01 and negatives[i] the `pool_size` largest A10; ties go to the lower column.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt], or with its ranks, as `ranked` has them.
        gamma: sharpness of the difference, > 0.
        beta: temperature of the affinities, > 0.
        pool_size: hard negatives per example, less than the number of columns.
        anchors: i32[m], distinct examples that alone may be selected and ranked; all n if None.
        block_size: at most this many rows are held against all columns at once.
        axis_name: inside a mapped function, the axis that shares out the rows. Every device passes the whole data
            set, mines its slice, and returns the whole table.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes.
    """
    _check(student, teacher, anchors, block_size, "pool_size", pool_size)

    def reduce_block(ratio, is_self, columns):
        difference = jnp.tanh(gamma * ratio)
        return ContrastTable(
            positives=columns[first_largest(jnp.where(is_self, -jnp.inf, ratio))],
            negatives=columns[smallest(jnp.where(is_self, jnp.inf, ratio), pool_size)],
            confusion=confusion(affinities(difference, beta), exclude=is_self),
        )

    return _map_blocks(reduce_block, student, teacher, anchors, block_size, axis_name)


@_refuse_nonfinite
@functools.partial(jax.jit, static_argnames=("block_size", "axis_name"))
def mine_triplets(
    student: Array,
    teacher: Array | Ranked,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    anchors: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> TripletTable:
    """Mines one positive and one negative an example, weighted by how strong they are. Arguments as in `mine`.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes.
    """
    _check(student, teacher, anchors, block_size, "pool_size", 1)

    def reduce_block(ratio, is_self, columns):
        positives = first_largest(jnp.where(is_self, -jnp.inf, ratio))
        negatives = first_largest(jnp.where(is_self, -jnp.inf, -ratio))
        chosen = jnp.take_along_axis(ratio, jnp.stack([positives, negatives], axis=1), axis=1)
        teacher_unique, student_unique = affinities(jnp.tanh(gamma * chosen), beta)
        weights = (teacher_unique[:, 0] + student_unique[:, 1]) / 2
        return TripletTable(columns[positives], columns[negatives], weights)

    return _map_blocks(reduce_block, student, teacher, anchors, block_size, axis_name)


@_refuse_nonfinite
@functools.partial(jax.jit, static_argnames=("neighbors", "block_size", "axis_name"))
def difficulty(
    student: Array,
    teacher: Array | Ranked,
    *,
    gamma: float,
    beta: float,
    neighbors: int = 8,
    anchors: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> Array:
    """Sum f32[n] of each example's `neighbors` largest A01, itself excluded: high is hard. Arguments as in `mine`.

    It saturates: of a fresh student nearly all examples have the same. `difficulty_order` tells them apart.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes.
    """
    return _difficulty(_largest_differences(student, teacher, neighbors, anchors, block_size, axis_name), gamma, beta)


@_refuse_nonfinite
@functools.partial(jax.jit, static_argnames=("neighbors", "block_size", "axis_name"))
def difficulty_order(
    student: Array,
    teacher: Array | Ranked,
    *,
    gamma: float = 0.1,
    beta: float = 0.8,
    neighbors: int = 8,
    anchors: Array | None = None,
    block_size: int = 512,
    axis_name: str | None = None,
) -> Array:
    """All examples i32[n] from the easiest to the hardest, by `difficulty`. Arguments as in `mine`.

    Of equal difficulty, the one with the smaller differences before gamma and tanh is the easier.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes.
    """
    hardest = _largest_differences(student, teacher, neighbors, anchors, block_size, axis_name)
    return jnp.lexsort((jnp.mean(hardest, axis=1), _difficulty(hardest, gamma, beta))).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("block_size", "axis_name"))
def ranked(embeddings: Array, *, block_size: int = 512, axis_name: str | None = None) -> Ranked:
    """Ranks all neighbours of every example, for a teacher that is mined with again and again.

    The ranks take `ranks_nbytes(n)` on every device. embeddings: f32[n,d]; other arguments as in `mine`.

    Raises:
        ValueError: if the shape or block_size is impossible.
    """
    if embeddings.ndim != 2 or not embeddings.size or block_size < 1:
        raise ValueError(f"embeddings must be non-empty [n, d], in blocks; got {embeddings.shape}, {block_size}")
    n, rank = len(embeddings), blockwise.ranker(embeddings, anchors=None)

    def rank_block(rows):
        return rank(rows, rows[:, None] == jnp.arange(n))

    return Ranked(embeddings, blockwise.map_row_blocks(rank_block, n, block_size, axis_name))


def ranks_nbytes(num_examples: int) -> int:
    """The bytes that the ranks of `ranked` take."""
    return num_examples**2 * ranks_dtype(num_examples).itemsize


def _check(student, teacher, anchors, block_size, count_name, count):
    """Raises ValueError unless `count` of the columns can be selected for every row."""
    if isinstance(teacher, Ranked):
        if teacher.ranks.shape != (len(teacher.embeddings),) * 2:
            raise ValueError(f"ranks must be [n, n]; got {teacher.ranks.shape} for {teacher.embeddings.shape}")
        teacher = teacher.embeddings
    shapes = f"student {student.shape}, teacher {teacher.shape}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not student.size or not teacher.size:
        raise ValueError(f"embeddings must be non-empty [n, ds] and [n, dt] with the same n; got {shapes}")
    if anchors is not None and (anchors.ndim != 1 or not jnp.issubdtype(anchors.dtype, jnp.integer)):
        raise ValueError(f"anchors must be integers [m]; got {anchors.dtype}{list(anchors.shape)} for {shapes}")
    columns = len(student) if anchors is None else len(anchors)
    if not 1 <= count < columns:
        raise ValueError(f"{count_name} must be in [1, {columns}), the number of columns; got {count} for {shapes}")
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1; got {block_size}")


def _difficulty(hardest: Array, gamma: float, beta: float) -> Array:
    """The sum f32[n] of A01 over differences before gamma and tanh, f32[n,neighbors]."""
    return jnp.sum(affinities(jnp.tanh(gamma * hardest), beta).teacher_unique, axis=1)


def _largest_differences(student, teacher, neighbors, anchors, block_size, axis_name):
    """Each example's largest differences before gamma and tanh, itself excluded, f32[n,neighbors]."""
    _check(student, teacher, anchors, block_size, "neighbors", neighbors)

    def reduce_block(ratio, is_self, _):
        hardest = smallest(jnp.where(is_self, jnp.inf, -ratio), neighbors)
        return jnp.take_along_axis(ratio, hardest, axis=1)

    return _map_blocks(reduce_block, student, teacher, anchors, block_size, axis_name)


def _map_blocks(reduce_block, student, teacher, anchors, block_size, axis_name):
    """Applies `reduce_block(ratio f32[b,m], is_self bool[b,m], columns i32[m])` to all n rows, b at a time.

    Returns what it returns, with leaves [n,...] for [b,...].
    Floating leaves are NaN where an embedding is not finite.
    """
    columns = (jnp.arange(len(student)) if anchors is None else anchors).astype(jnp.int32)
    student_ranks, teacher_ranks = (blockwise.ranker(model, anchors) for model in (student, teacher))
    finite = jnp.isfinite(student).all() & jnp.isfinite(embeddings_of(teacher)).all()

    def one_block(rows):
        is_self = rows[:, None] == columns
        ratio = relative_difference(student_ranks(rows, is_self), teacher_ranks(rows, is_self))
        return reduce_block(ratio, is_self, columns)

    def nan_unless_finite(leaf):
        return jnp.where(finite, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    reduced = blockwise.map_row_blocks(one_block, len(student), block_size, axis_name)
    return jax.tree.map(nan_unless_finite, reduced)
