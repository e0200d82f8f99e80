"""Properties of banks and queues for any contents: repeated rows, zeros, 1e30, NaN, infinity, any batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdd_jax import memory
from rdd_jax.losses import numerics

SIZE, BATCH, WIDTH = 5, 3, 2
momentum_update, enqueue, l2_normalize = (
    jax.jit(fn) for fn in (memory.momentum_update, memory.enqueue, numerics.l2_normalize)
)

whole = st.integers(-3, 3).map(float)
ordinary = st.floats(-100, 100, width=32)
nasty = st.sampled_from([0.0, 1e-40, 1e-20, 1e30, -1e30, np.inf, -np.inf, np.nan])
few = settings(max_examples=50, deadline=None, derandomize=True)


def vectors_of(elements, rows=BATCH):
    return arrays(np.float32, (rows, WIDTH), elements=elements, fill=st.nothing())


banks = vectors_of(whole | ordinary, SIZE)
batches = vectors_of(whole | ordinary)
indices = arrays(np.int32, BATCH, elements=st.integers(0, SIZE - 1), fill=st.nothing())
shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def unit(rows):
    """In float64; rows shorter than 1e-6 become zeros."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.where(length > 1e-6, rows / np.where(length > 1e-6, length, 1.0), 0.0)


# Unit vectors.


@few
@given(vectors_of(whole | ordinary | st.sampled_from([1e-20, 1e15])))
def test_a_row_becomes_its_unit_vector_or_zeros(rows):
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    rows = rows[(length < 5e-7) | (length > 2e-6)]  # Away from where rounding decides.
    np.testing.assert_allclose(l2_normalize(rows), unit(rows), rtol=1e-5, atol=1e-6)


@few
@given(vectors_of(whole | ordinary | nasty))
def test_nan_rows_stay_nan_and_do_not_affect_other_rows(rows):
    normalized = np.asarray(l2_normalize(rows))
    finite = np.isfinite(rows).all(axis=1)
    assert np.isnan(normalized[~finite]).any(axis=1).all()
    assert np.isfinite(normalized[finite]).all()
    assert np.all(np.linalg.norm(normalized[finite], axis=1) < 1 + 1e-5)
    slope = jax.grad(lambda rows: jnp.sum(l2_normalize(rows)))(rows)
    assert np.isfinite(np.asarray(slope)[finite]).all()


@few
@given(batches, st.sampled_from([0.25, 2.0, 1024.0]))
def test_normalisation_is_invariant_to_scale(rows, scale):
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    rows = np.where((length > 1e-4)[:, None], rows, 0.0).astype(np.float32)
    np.testing.assert_allclose(l2_normalize(np.float32(scale) * rows), l2_normalize(rows), rtol=1e-6, atol=0)


# Banks.


@few
@given(vectors_of(whole | ordinary | nasty, SIZE), indices, vectors_of(whole | ordinary | nasty), shares)
def test_rows_that_are_not_updated_keep_their_bits(bank, rows, embeddings, momentum):
    others = np.setdiff1d(np.arange(SIZE), rows)
    updated = np.asarray(momentum_update(bank, rows, embeddings, momentum))
    assert (updated.shape, updated.dtype) == (bank.shape, bank.dtype)
    np.testing.assert_array_equal(updated[others].view(np.int32), bank[others].view(np.int32))


@few
@given(banks, indices, batches, shares)
def test_an_updated_row_is_the_normalised_average_with_the_last_embedding_for_it(bank, rows, embeddings, momentum):
    updated = np.asarray(momentum_update(bank, rows, embeddings, momentum))
    last = {int(row): place for place, row in enumerate(rows)}
    for row, place in last.items():
        between = momentum * bank[row].astype(np.float64) + (1 - momentum) * embeddings[place].astype(np.float64)
        if np.linalg.norm(between) > 1e-3:  # Else what cancels is told by rounding.
            np.testing.assert_allclose(updated[row], unit(between), atol=2e-3)
            assert np.linalg.norm(updated[row]) == pytest.approx(1.0, abs=1e-5)
        else:
            assert np.isfinite(updated[row]).all()


@few
@given(banks, indices, vectors_of(whole | ordinary | st.sampled_from([1e30, -1e30])))
def test_momentum_1_keeps_directions_and_momentum_0_replaces_them(bank, rows, embeddings):
    kept = np.asarray(momentum_update(bank, rows, embeddings, 1.0))
    named = np.unique(rows)
    np.testing.assert_array_equal(kept[named], np.asarray(l2_normalize(bank))[named])
    replaced = np.asarray(momentum_update(bank, rows, embeddings, 0.0))
    np.testing.assert_array_equal(
        replaced, momentum_update(np.where(np.isin(range(SIZE), rows)[:, None], 7, bank), rows, embeddings, 0.0)
    )


@few
@given(banks, indices, st.sampled_from([0.0, 0.5]))
def test_a_zero_embedding_gives_no_nan(bank, rows, momentum):
    updated = np.asarray(momentum_update(bank, rows, np.zeros((BATCH, WIDTH), np.float32), momentum))
    assert np.isfinite(updated).all()
    expected = unit(bank[rows]) if momentum else np.zeros((BATCH, WIDTH))
    clear = np.linalg.norm(bank[rows], axis=1) > 1e-3
    np.testing.assert_allclose(updated[rows][clear], expected[clear], atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_bank_keeps_its_dtype(dtype):
    bank = jnp.ones((SIZE, WIDTH), jnp.float32)
    assert memory.momentum_update(bank, jnp.arange(2), jnp.ones((2, WIDTH), dtype), 0.5).dtype == jnp.float32
    queue = memory.init_queue(jax.random.key(0), SIZE, WIDTH)
    assert memory.enqueue(queue, jnp.ones((2, WIDTH), dtype)).vectors.dtype == jnp.float32


def test_an_empty_batch_changes_nothing():
    bank, nothing = (
        np.random.default_rng(0).normal(size=(SIZE, WIDTH)).astype(np.float32),
        np.zeros((0, WIDTH), np.float32),
    )
    np.testing.assert_array_equal(memory.momentum_update(bank, np.zeros(0, np.int32), nothing, 0.5), bank)
    queue = memory.FifoQueue(bank, np.int32(3))
    jax.tree.map(np.testing.assert_array_equal, memory.enqueue(queue, nothing), queue)


# Queues.


@functools.cache
def numbered(first, count):
    """Rows that tell their number."""
    return np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones((1, WIDTH), np.float32)


@few
@given(st.sampled_from([1, 4, 5]), st.lists(st.sampled_from([0, 1, 2, 4, 5, 7]), min_size=1, max_size=8))
def test_a_queue_holds_the_latest_embeddings_in_order(size, counts):
    """Also where batches do not divide the queue, and where one is larger than it."""
    queue = memory.FifoQueue(-numbered(1, size)[::-1], np.int32(0))  # The oldest first: -size to -1.
    entered = [*range(-size, 0)]
    for count in counts:
        first = len(entered) - size
        queue = enqueue(queue, numbered(first, count))
        entered += range(first, first + count)
        cursor = int(queue.cursor)
        assert 0 <= cursor < size
        held = np.roll(np.asarray(queue.vectors), -cursor, axis=0)  # The oldest stands where the next is written.
        np.testing.assert_array_equal(held[:, 0], entered[-size:])


@few
@given(vectors_of(whole | ordinary | nasty))
def test_a_queue_stores_embeddings_bit_for_bit(embeddings):
    queue = enqueue(memory.FifoQueue(jnp.zeros((SIZE, WIDTH)), jnp.int32(4)), embeddings)
    held = np.asarray(queue.vectors)[np.array([4, 0, 1])]
    np.testing.assert_array_equal(held, embeddings)
    np.testing.assert_array_equal(np.asarray(queue.vectors)[2:4], 0.0)
