"""Sorting of rows: by XLA on accelerators and by NumPy on the CPU, with the same results, under jit, vmap and pmap.

NumPy sorts 64-bit integers over ten times as fast as XLA does on the CPU.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.typing import DTypeLike

from rdd_jax.core.types import Array

# The rows that one host thread sorts at a time, few enough that their keys stay in its cache.
_HOST_ROWS = 8
_GROUP = 100  # The columns of a group in `argmax_rows`.


@functools.partial(jax.jit, static_argnames="k")
def argsort_smallest(values: Array, k: int) -> Array:
    """Returns the columns i32[...,k] of the k smallest values f32[...,m] of each row, in ascending order of the values.

    Among equal values the lower column comes first; NaNs come last. No gradient.
    """
    return _argsort_smallest_p.bind(_monotone_integers(values), k=k)


@jax.jit
def row_ranks(values: Array) -> Array:
    """Returns the 0-based position of each value f32[...,m] in its row's ascending order, of dtype `ranks_dtype(m)`.

    Among equal values the lower column ranks first; NaNs rank last. No gradient.
    """
    return _row_ranks_p.bind(_monotone_integers(values))


def ranks_dtype(num_columns: int) -> np.dtype:
    """Returns the dtype of ranks: uint16 for up to 65,536 columns, otherwise int32."""
    return np.dtype(np.uint16 if num_columns <= 2**16 else np.int32)


def argmax_rows(values: Array) -> Array:
    """Returns the lowest column i32[n] with each row's largest value f32[n,m]: `jnp.argmax` of rows without NaN."""
    # On the CPU XLA vectorises maxima but not argmax. So it searches only the group of columns with the maximum.
    groups = jnp.pad(values, ((0, 0), (0, -values.shape[1] % _GROUP)), constant_values=-jnp.inf)
    groups = groups.reshape(len(values), -1, _GROUP)
    best = jnp.argmax(groups.max(axis=2), axis=1)
    return _GROUP * best + jnp.argmax(jnp.take_along_axis(groups, best[:, None, None], axis=1)[:, 0], axis=1)


def _monotone_integers(values: Array) -> Array:
    """Maps f32[...] to i32[...] of the same order. 0.0 and -0.0 are equal; NaNs are equal and larger than the rest."""
    bits = lax.bitcast_convert_type(lax.stop_gradient(values.astype(jnp.float32)), jnp.int32)
    magnitude = bits & 0x7FFFFFFF  # IEEE 754: bits order magnitudes, and those above infinity's are NaN.
    return jnp.where(magnitude > 0x7F800000, 0x7FFFFFFF, jnp.where(bits < 0, -magnitude, magnitude))


def _argsort_smallest_xla(values: Array, *, k: int) -> Array:
    return jnp.argsort(values, axis=-1, stable=True)[..., :k].astype(jnp.int32)


def _row_ranks_xla(values: Array) -> Array:
    order = _argsort_smallest_xla(values, k=values.shape[-1])
    positions = jnp.broadcast_to(jnp.arange(order.shape[-1], dtype=jnp.int32), order.shape)
    ranks = jnp.put_along_axis(jnp.zeros_like(order), order, positions, axis=-1, inplace=False)
    return ranks.astype(ranks_dtype(order.shape[-1]))


def _argsort_smallest_numpy(values: np.ndarray, *, k: int) -> np.ndarray:
    columns = np.empty((*values.shape[:-1], k), np.int32)

    def select(keys: np.ndarray, out: np.ndarray) -> None:
        if k < keys.shape[1]:
            keys.partition(k - 1, axis=1)
        nearest = keys[:, :k]
        nearest.sort(axis=1)
        out[:] = (nearest & 0xFFFFFFFF) - np.arange(len(keys))[:, None] * keys.shape[1]

    _for_row_groups(select, values, columns)
    return columns


def _row_ranks_numpy(values: np.ndarray) -> np.ndarray:
    ranks = np.empty(values.shape, ranks_dtype(values.shape[-1]))
    positions = np.tile(np.arange(values.shape[-1], dtype=ranks.dtype), _HOST_ROWS)

    def invert(keys: np.ndarray, out: np.ndarray) -> None:
        keys.sort(axis=1)
        keys &= 0xFFFFFFFF
        out.reshape(-1)[keys.reshape(-1)] = positions[: keys.size]

    _for_row_groups(invert, values, ranks)
    return ranks


def _for_row_groups(process: Callable[[np.ndarray, np.ndarray], None], values: np.ndarray, results: np.ndarray) -> None:
    """Calls `process(keys i64[r,m], results[r,k])` for all rows of values i32[...,m], r at a time, on all cores.

    The keys of a group are distinct and sort like (value, column). The upper 32 bits hold the value, the lower 32 the
    index in `keys.ravel()`.
    """
    values, results = (array.reshape(-1, array.shape[-1]) for array in (values, results))
    flat_indices = np.arange(_HOST_ROWS * values.shape[1]).reshape(_HOST_ROWS, -1)
    starts = iter(range(0, len(values), _HOST_ROWS))

    def work(_: int) -> None:
        # One buffer per thread: to allocate memory for every group would take as long as to sort it.
        buffer = np.empty((_HOST_ROWS, values.shape[1]), np.int64)
        for start in starts:  # The iterator is shared by the threads.
            group = values[start : start + _HOST_ROWS]
            keys = buffer[: len(group)]
            np.copyto(keys, group)
            keys <<= 32
            keys |= flat_indices[: len(group)]
            process(keys, results[start : start + _HOST_ROWS])

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the GIL while it processes whole arrays.
        list(pool.map(work, range(threads)))


def _primitive(
    name: str,
    in_xla: Callable[..., Array],
    in_numpy: Callable[..., np.ndarray],
    out_width_and_dtype: Callable[..., tuple[int, DTypeLike]],
) -> Primitive:
    """Makes a JAX primitive of a function of the last axis that runs in NumPy on the CPU and in XLA elsewhere.

    It is not a `jax.pure_callback`, because that copies its arguments on the runtime's threads before the callback may
    read them. It deadlocks when all of these threads wait in callbacks, as with several devices or on a single core.

    Args:
        name: of the primitive.
        in_xla: (values i32[...,m], **params) -> Array.
        in_numpy: the same function of NumPy arrays.
        out_width_and_dtype: (m, **params) -> the last dimension and the dtype of the result.
    """

    def batched(arguments, dimensions, **params):
        return primitive.bind(jnp.moveaxis(arguments[0], dimensions[0], 0), **params), 0

    def on_cpu(context, values, **params):
        results, *_ = mlir.emit_python_callback(
            context,
            lambda values: (in_numpy(values, **params),),
            token=None,
            operands=[values],
            operand_avals=context.avals_in,
            result_avals=context.avals_out,
            has_side_effect=False,
            returns_token=False,
        )
        return results

    def aval(values, **params):
        width, dtype = out_width_and_dtype(values.shape[-1], **params)
        return values.update(shape=(*values.shape[:-1], width), dtype=np.dtype(dtype))

    primitive = Primitive(name)
    primitive.def_impl(in_xla)
    primitive.def_abstract_eval(aval)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(in_xla, multiple_results=False))
    mlir.register_lowering(primitive, on_cpu, platform="cpu")
    return primitive


_argsort_smallest_p = _primitive(
    "rdx_smallest", _argsort_smallest_xla, _argsort_smallest_numpy, lambda m, k: (k, np.int32)
)
_row_ranks_p = _primitive("rdx_ranks", _row_ranks_xla, _row_ranks_numpy, lambda m: (m, ranks_dtype(m)))
