"""Comparison of two models on all pairs of a data set, in blocks of rows: the base of mining and difficulty.

No array is larger than block x columns.
"""

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array
from rdd_jax.rdx.blockwise import map_row_blocks
from rdd_jax.rdx.difference import relative_difference
from rdd_jax.rdx.ranking import RankedEmbeddings, embeddings_of, make_rank_fn

Tree = TypeVar("Tree")  # A pytree of arrays.
Comparison = TypeVar("Comparison", bound=Callable[..., object])


def compile_comparison(*static_argnames: str) -> Callable[[Comparison], Comparison]:
    """Decorates a function of (student, teacher, *, ...): compiles it and refuses embeddings that are not finite.

    Outside of `jax.jit` such embeddings raise ValueError. Inside, where values are not known, the float results are NaN
    (see `map_differences`).

    Args:
        static_argnames: the function's static arguments besides `block_size` and `axis_name`.
    """

    def decorate(compare: Comparison) -> Comparison:
        jitted = jax.jit(compare, static_argnames=(*static_argnames, "block_size", "axis_name"))

        @functools.wraps(compare)
        def checked(student: Array, teacher: Array | RankedEmbeddings, **options: object) -> object:
            _check_finite("student", student)
            _check_finite("teacher", embeddings_of(teacher))
            return jitted(student, teacher, **options)

        return cast(Comparison, checked)

    return decorate


def check_selection(
    student: Array,
    teacher: Array | RankedEmbeddings,
    candidates: Array | None,
    block_size: int,
    count_name: str,
    count: int,
) -> None:
    """Raises ValueError unless `count` columns, without the example itself, can be selected for every row."""
    if isinstance(teacher, RankedEmbeddings):
        if teacher.ranks.shape != (len(teacher.embeddings),) * 2:
            raise ValueError(f"ranks must be [n,n]; got {teacher.ranks.shape} for {teacher.embeddings.shape}")
        teacher = teacher.embeddings
    shapes = f"student {student.shape}, teacher {teacher.shape}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not student.size or not teacher.size:
        raise ValueError(f"embeddings must be non-empty [n,ds] and [n,dt] with the same n; got {shapes}")
    if candidates is not None and (candidates.ndim != 1 or not jnp.issubdtype(candidates.dtype, jnp.integer)):
        raise ValueError(
            f"candidates must be integers [m]; got {candidates.dtype}{list(candidates.shape)} for {shapes}"
        )
    columns = len(student) if candidates is None else len(candidates)
    if not 1 <= count < columns:
        raise ValueError(f"{count_name} must be in [1, {columns}), the number of columns; got {count} for {shapes}")
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1; got {block_size}")


def map_differences(
    reduce_block: Callable[[Array, Array, Array], Tree],
    student: Array,
    teacher: Array | RankedEmbeddings,
    candidates: Array | None,
    block_size: int,
    axis_name: str | None,
) -> Tree:
    """Applies a function to the relative differences of all n rows, in blocks.

    Args:
        reduce_block: maps (relative differences f32[b,m], is_self bool[b,m], columns i32[m]) to a pytree [b,...].
        student, teacher, candidates, block_size, axis_name: as of `mine`.

    Returns:
        The pytree with leaves [n,...]. Its float leaves are NaN if an embedding is not finite.
    """
    columns = (jnp.arange(len(student)) if candidates is None else candidates).astype(jnp.int32)
    student_ranks, teacher_ranks = (make_rank_fn(each, candidates) for each in (student, teacher))
    finite = jnp.isfinite(student).all() & jnp.isfinite(embeddings_of(teacher)).all()

    def one_block(rows: Array) -> Tree:
        is_self = rows[:, None] == columns
        differences = relative_difference(student_ranks(rows, is_self), teacher_ranks(rows, is_self))
        return reduce_block(differences, is_self, columns)

    def nan_unless_finite(leaf: Array) -> Array:
        return jnp.where(finite, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(nan_unless_finite, map_row_blocks(one_block, len(student), block_size, axis_name))


def _check_finite(name: str, embeddings: Array) -> None:
    """Raises ValueError for embeddings with NaN or infinity, unless they are being traced."""
    if isinstance(embeddings, jax.core.Tracer):
        return
    with jax.ensure_compile_time_eval():  # The caller may be traced although these embeddings are not.
        if not jnp.isfinite(embeddings).all():
            raise ValueError(f"{name} embeddings {embeddings.shape} are not finite and cannot be ranked")
