"""The sorts under RDX: in XLA on accelerators, in NumPy on CPU, exactly the same; under jit, vmap and pmap."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from rdd_jax.core.types import Array

# Rows that one host thread sorts at a time: few enough that their keys stay in its cache.
_HOST_ROWS = 8
_GROUP = 100


@functools.partial(jax.jit, static_argnames="k")
def smallest(values: Array, k: int) -> Array:
    """The columns i32[...,k] of the k smallest values f32[...,m], ascending; ties to the lower. No gradient."""
    return _smallest_p.bind(_sortable(values), k=k)


@jax.jit
def ranks(values: Array) -> Array:
    """The 0-based position of each value f32[...,m] in its row's ascending order, as `ranks_dtype(m)`. No gradient.

    Of equal values the lower column ranks first; NaNs rank last.
    """
    return _ranks_p.bind(_sortable(values))


def ranks_dtype(num_columns: int) -> np.dtype:
    """What ranks among so many are kept in: u16 where it holds them, else i32."""
    return np.dtype(np.uint16 if num_columns <= 2**16 else np.int32)


def first_largest(values: Array) -> Array:
    """The lowest column i32[n] with the largest of f32[n,m], as `jnp.argmax` has it where nothing is NaN."""
    # XLA vectorises a maximum on CPU and no argmax: only the best group of columns is searched for one.
    groups = jnp.pad(values, ((0, 0), (0, -values.shape[1] % _GROUP)), constant_values=-jnp.inf)
    groups = groups.reshape(len(values), -1, _GROUP)
    best = jnp.argmax(groups.max(axis=2), axis=1)
    return _GROUP * best + jnp.argmax(jnp.take_along_axis(groups, best[:, None, None], axis=1)[:, 0], axis=1)


def _sortable(values: Array) -> Array:
    """i32[...] in the order of f32[...]: 0.0 and -0.0 are equal, and so are all NaNs, after everything else."""
    bits = lax.bitcast_convert_type(lax.stop_gradient(values.astype(jnp.float32)), jnp.int32)
    magnitude = bits & 0x7FFFFFFF  # IEEE 754 orders magnitudes as their bits do; those above infinity's are NaN.
    return jnp.where(magnitude > 0x7F800000, 0x7FFFFFFF, jnp.where(bits < 0, -magnitude, magnitude))


def _smallest_in_xla(values: Array, *, k: int) -> Array:
    return jnp.argsort(values, axis=-1, stable=True)[..., :k].astype(jnp.int32)


def _ranks_in_xla(values: Array) -> Array:
    order = _smallest_in_xla(values, k=values.shape[-1])
    positions = jnp.broadcast_to(jnp.arange(order.shape[-1], dtype=jnp.int32), order.shape)
    ranks = jnp.put_along_axis(jnp.zeros_like(order), order, positions, axis=-1, inplace=False)
    return ranks.astype(ranks_dtype(order.shape[-1]))


def _smallest_in_numpy(values: np.ndarray, *, k: int) -> np.ndarray:
    """The same on the host: NumPy sorts integers vectorised, over ten times as fast as XLA sorts on the CPU."""
    columns = np.empty((*values.shape[:-1], k), np.int32)

    def select(keys: np.ndarray, out: np.ndarray):
        if k < keys.shape[1]:
            keys.partition(k - 1, axis=1)
        nearest = keys[:, :k]
        nearest.sort(axis=1)
        out[:] = (nearest & 0xFFFFFFFF) - np.arange(len(keys))[:, None] * keys.shape[1]

    _for_pieces(select, values, columns)
    return columns


def _ranks_in_numpy(values: np.ndarray) -> np.ndarray:
    ranks = np.empty(values.shape, ranks_dtype(values.shape[-1]))
    positions = np.tile(np.arange(values.shape[-1], dtype=ranks.dtype), _HOST_ROWS)

    def invert(keys: np.ndarray, out: np.ndarray):
        keys.sort(axis=1)
        keys &= 0xFFFFFFFF
        out.reshape(-1)[keys.reshape(-1)] = positions[: keys.size]

    _for_pieces(invert, values, ranks)
    return ranks


def _for_pieces(do, values: np.ndarray, results: np.ndarray):
    """Calls `do(keys i64[r,m], results[r,k])` for all rows of values i32[...,m], r at a time, on all cores.

    Keys are distinct and sort like (value, column): the value above, and below it the place in keys.ravel().
    """
    values, results = (array.reshape(-1, array.shape[-1]) for array in (values, results))
    places = np.arange(_HOST_ROWS * values.shape[1]).reshape(_HOST_ROWS, -1)
    starts = iter(range(0, len(values), _HOST_ROWS))

    def work(_):
        # One buffer a thread: fresh memory for every piece would cost as much as its sort.
        buffer = np.empty((_HOST_ROWS, values.shape[1]), np.int64)
        for start in starts:  # Whichever thread is free takes the next.
            piece = values[start : start + _HOST_ROWS]
            keys = buffer[: len(piece)]
            np.copyto(keys, piece)
            keys <<= 32
            keys |= places[: len(piece)]
            do(keys, results[start : start + _HOST_ROWS])

    threads = os.cpu_count()
    with ThreadPoolExecutor(threads) as pool:  # What NumPy does to whole arrays, it does without the GIL.
        list(pool.map(work, range(threads)))


def _primitive(name: str, in_xla, in_numpy, out_shape_and_dtype) -> Primitive:
    """A function of rows, with a lowering of its own for the CPU.

    A primitive, and not `jax.pure_callback`: that copies its arguments on the runtime's own threads before the callback
    may read them, and hangs once all of these wait in callbacks (several devices in one process, or a single core).
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
        width, dtype = out_shape_and_dtype(values.shape[-1], **params)
        return values.update(shape=(*values.shape[:-1], width), dtype=np.dtype(dtype))

    primitive = Primitive(name)
    primitive.def_impl(in_xla)
    primitive.def_abstract_eval(aval)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(in_xla, multiple_results=False))
    mlir.register_lowering(primitive, on_cpu, platform="cpu")
    return primitive


_smallest_p = _primitive("rdx_smallest", _smallest_in_xla, _smallest_in_numpy, lambda m, k: (k, np.int32))
_ranks_p = _primitive("rdx_ranks", _ranks_in_xla, _ranks_in_numpy, lambda m: (m, ranks_dtype(m)))
