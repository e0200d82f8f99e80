"""Sorting: NumPy's on the host and XLA's agree to the last tie."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax.rdx import sorting


def awkward_values():
    values = np.random.default_rng(1).normal(size=(41, 50)).astype(np.float32)  # No whole number of the host's pieces.
    values[:10] = np.round(values[:10])
    values[10:20, ::3] = values[10:20, :1]
    values[20:30, ::7] = np.inf
    values[20:30, 1::7] = -np.inf
    values[25:40, 2::5] = np.nan
    values[25:40, 3::5] = -np.float32(np.nan)
    values[30:35, ::4] = 0.0
    values[30:35, 1::4] = -0.0
    values[40] *= np.float32(1e-44)  # Denormal.
    return values


@pytest.fixture(scope="module")
def order():
    """By the definition: a stable sort of (is NaN, value)."""
    values = awkward_values()
    return np.array([sorted(range(50), key=lambda j: (np.isnan(row[j]), np.nan_to_num(row[j]), j)) for row in values])


@pytest.mark.parametrize("k", [1, 7, 50])
def test_argsort_smallest_in_numpy_equals_xla(order, k):
    sortable = sorting._monotone_integers(awkward_values())
    in_xla = jax.jit(functools.partial(sorting._argsort_smallest_xla, k=k))(sortable)
    np.testing.assert_array_equal(in_xla, order[:, :k])
    np.testing.assert_array_equal(sorting._argsort_smallest_numpy(np.asarray(sortable), k=k), in_xla)
    np.testing.assert_array_equal(sorting.argsort_smallest(awkward_values(), k), in_xla)
    assert in_xla.dtype == sorting.argsort_smallest(awkward_values(), k).dtype == jnp.int32


def test_row_ranks_in_numpy_equal_xla(order):
    sortable = sorting._monotone_integers(awkward_values())
    in_xla = jax.jit(sorting._row_ranks_xla)(sortable)
    np.testing.assert_array_equal(in_xla, np.argsort(order, axis=1))
    np.testing.assert_array_equal(sorting._row_ranks_numpy(np.asarray(sortable)), in_xla)
    np.testing.assert_array_equal(sorting.row_ranks(awkward_values()), in_xla)
    assert in_xla.dtype == sorting.row_ranks(awkward_values()).dtype == jnp.uint16


def test_more_ranks_than_16_bits_hold_are_int32():
    """In one row; the last rank is one that u16 does not hold."""
    values = np.arange(2**16 + 1, dtype=np.float32)[None, ::-1]
    ranks = sorting.row_ranks(values)
    np.testing.assert_array_equal(ranks, values)
    assert ranks.dtype == sorting._row_ranks_xla(sorting._monotone_integers(values)).dtype == jnp.int32
    assert sorting.row_ranks(values[:, 1:]).dtype == jnp.uint16


def test_more_than_two_dimensions_and_vmap_over_any():
    values = awkward_values()[:40].reshape(4, 10, 50)
    for fn in (sorting.row_ranks, functools.partial(sorting.argsort_smallest, k=7)):
        expected = fn(values.reshape(40, 50)).reshape(4, 10, -1)
        np.testing.assert_array_equal(fn(values), expected)
        np.testing.assert_array_equal(jax.vmap(fn, in_axes=1, out_axes=1)(values), expected)


@pytest.mark.parametrize("columns", [1, 99, 100, 250])
def test_argmax_rows_equals_argmax(columns):
    values = np.random.default_rng(0).integers(0, 20, (60, columns)).astype(np.float32)
    values[0] = -np.inf
    np.testing.assert_array_equal(sorting.argmax_rows(jnp.asarray(values)), values.argmax(axis=1))
