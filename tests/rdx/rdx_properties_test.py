"""Properties of RDX for any numbers: ties, equal rows, 1e30, NaN, infinity. Shapes are few: each is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdd_jax import rdx

ROWS, POOL = 8, 3
jitted_distances = jax.jit(rdx.pairwise_distances)
jitted_difference = jax.jit(rdx.locally_biased_difference)
jitted_affinities = jax.jit(rdx.affinities)

# Of few whole numbers: there are ties and equal rows, and with 8 rows even the centred squares are exact in float32.
whole = st.integers(-4, 4).map(float)
ordinary = st.floats(-100, 100, width=32)
nasty = st.sampled_from(
    [0.0, -0.0, 1.0, 1e-40, -1e-40, 1e19, 1e30, -1e30, np.inf, -np.inf, np.nan, np.copysign(np.nan, -1)]
)


def rows_of(elements, width):
    same = arrays(np.float32, (1, width), elements=elements).map(lambda row: np.tile(row, (ROWS, 1)))
    return arrays(np.float32, (ROWS, width), elements=elements, fill=st.nothing()) | same


exact_pairs = st.tuples(rows_of(whole, 3), rows_of(whole, 2))
any_pairs = st.tuples(rows_of(whole | ordinary | nasty, 3), rows_of(whole | ordinary | nasty, 2))
any_distances = arrays(np.float32, (3, 6), elements=whole | ordinary | nasty, fill=st.nothing())
few = settings(max_examples=40, deadline=None, derandomize=True)


def mine(student, teacher, pool_size=POOL, block_size=512):
    return jax.tree.map(np.asarray, rdx.mine(student, teacher, pool_size=pool_size, block_size=block_size))


@jax.jit
def mined_under_jit(student, teacher):
    """-> (all that is mined of numbers of any kind, which are refused outside of jit, with a pool of all others)."""
    everything = rdx.mine(student, teacher, pool_size=ROWS - 1), rdx.mine_triplets(student, teacher)
    difficulty = rdx.difficulty(student, teacher, gamma=0.1, beta=0.8, neighbors=4)
    return *everything, difficulty, rdx.difficulty_order(student, teacher, neighbors=4)


def are_finite(pair):
    return all(np.isfinite(embeddings).all() for embeddings in pair)


def reference_ranks(embeddings):
    """By NumPy in float64, which is exact for whole numbers, of squared distances."""
    squared = np.sum((embeddings[:, None].astype(np.float64) - embeddings) ** 2, axis=-1)
    np.fill_diagonal(squared, 0.0)
    return np.argsort(np.argsort(squared, axis=1, kind="stable"), axis=1)


def reference_ratio(student, teacher):
    student_ranks, teacher_ranks = reference_ranks(student), reference_ranks(teacher)
    return (student_ranks - teacher_ranks) / (np.minimum(student_ranks, teacher_ranks) + 1)


# Distances and ranks.


@few
@given(rows_of(whole, 3))
def test_distances_of_small_whole_numbers_are_those_of_their_squares(rows):
    squared = np.sum((rows[:, None].astype(np.float64) - rows) ** 2, axis=-1)
    distances = np.asarray(jitted_distances(rows, rows))
    np.testing.assert_allclose(distances, np.sqrt(squared), rtol=3e-7, atol=0)  # So that equal rows are at exactly 0.
    np.testing.assert_array_equal(distances, distances.T)


@few
@given(rows_of(whole | ordinary | nasty, 3), rows_of(whole | ordinary | nasty, 3))
def test_distances_are_non_negative_and_nan_only_where_squares_overflow(rows, columns):
    distances = np.asarray(jitted_distances(rows, columns))
    assert (distances.shape, distances.dtype) == ((ROWS, ROWS), np.float32)
    assert not np.any(distances < 0)
    if np.abs(np.stack([rows, columns])).max() < 1e18:
        assert np.isfinite(distances).all()
        assert np.isfinite(jitted_distances(rows, rows)).all()  # Squares of 0 that rounding makes less.
    assert np.isnan(distances[np.isnan(rows).any(axis=1)]).all()


@few
@given(any_distances)
def test_ranks_are_numpys_positions_in_a_stable_order(distances):
    ranks = np.asarray(rdx.rank_normalize(distances))
    np.testing.assert_array_equal(ranks, np.argsort(np.argsort(distances, axis=1, kind="stable"), axis=1))
    np.testing.assert_array_equal(np.sort(ranks, axis=1), np.tile(np.arange(6), (3, 1)))


@few
@given(arrays(np.float32, (3, 6), elements=whole, fill=st.nothing()))
def test_ranks_are_invariant_to_monotone_transformations(distances):
    ranks = rdx.rank_normalize(distances)
    for transformed in (distances**3, np.exp(distances), 0.5 * distances - 7, 1e37 * distances):
        np.testing.assert_array_equal(rdx.rank_normalize(transformed.astype(np.float32)), ranks)


# Difference, affinities, confusion.


@few
@given(st.tuples(rows_of(whole, 3), rows_of(whole, 3)), st.sampled_from([0.01, 0.1, 5.0, 1e30]))
def test_the_difference_is_bounded_and_changes_its_sign_with_the_roles(pair, gamma):
    student_ranks, teacher_ranks = (np.asarray(rdx.rank_normalize(x)) for x in pair)
    difference = np.asarray(jitted_difference(student_ranks, teacher_ranks, gamma))
    assert np.all(np.abs(difference) <= 1)
    np.testing.assert_array_equal(difference, -np.asarray(jitted_difference(teacher_ranks, student_ranks, gamma)))
    np.testing.assert_array_equal(np.sign(difference), np.sign(student_ranks - teacher_ranks))


@few
@given(arrays(np.float32, (3, 6), elements=st.floats(-1, 1, width=32), fill=st.nothing()), st.sampled_from([0.1, 5.0]))
def test_the_two_affinities_are_each_others_inverse(difference, beta):
    teacher_unique, student_unique = (np.asarray(x) for x in jitted_affinities(difference, beta))
    assert np.all(teacher_unique > 0)
    np.testing.assert_allclose(teacher_unique * student_unique, 1.0, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(jitted_affinities(-difference, beta).student_unique), teacher_unique)
    assert np.all((teacher_unique - student_unique) * np.sign(difference) >= 0)


@few
@given(exact_pairs)
def test_confusion_is_at_least_2_and_the_same_with_the_roles_changed(pair):
    student, teacher = pair
    confusion = mine(student, teacher).confusion
    assert np.all(confusion >= 2 - 1e-6)
    np.testing.assert_allclose(mine(teacher, student).confusion, confusion, rtol=1e-6)
    agrees = (reference_ratio(student, teacher) == 0).all(axis=1)
    np.testing.assert_array_equal(confusion[agrees], 2.0)
    assert np.all(confusion[~agrees] > 2)


# Mining.


@few
@given(exact_pairs)
def test_mining_finds_what_brute_force_finds(pair):
    ratio = reference_ratio(*pair)
    table = mine(*pair)
    for row_index, row in enumerate(ratio):
        others = np.delete(np.arange(ROWS), row_index)
        by_teacher = others[np.argsort(-row[others], kind="stable")]
        by_student = others[np.argsort(row[others], kind="stable")]
        assert table.positives[row_index] == by_teacher[0]
        np.testing.assert_array_equal(table.negatives[row_index], by_student[:POOL])
    affinities = np.exp(0.8 * np.tanh(0.1 * ratio))
    means = np.mean((affinities + 1 / affinities)[~np.eye(ROWS, dtype=bool)].reshape(ROWS, -1), axis=1)
    np.testing.assert_allclose(table.confusion, means, rtol=1e-6)


@few
@given(any_pairs)
def test_mined_indices_are_valid_for_any_numbers(pair):
    """Indices stay in range also for numbers that are not finite: there the loss becomes NaN."""
    indices = np.arange(ROWS)
    table, triplets, difficulty, order = jax.tree.map(np.asarray, mined_under_jit(*pair))
    assert np.all((table.positives >= 0) & (table.positives < ROWS) & (table.positives != indices))
    np.testing.assert_array_equal(np.sort(table.negatives, axis=1), np.array([np.delete(indices, i) for i in indices]))
    np.testing.assert_array_equal(triplets.positives, table.positives)
    np.testing.assert_array_equal(triplets.negatives, table.negatives[:, 0])
    assert sorted(order) == list(range(ROWS))
    if not are_finite(pair):
        assert all(np.isnan(column).all() for column in (table.confusion, triplets.weights, difficulty))
        return
    assert np.isfinite(table.confusion).all()
    assert np.all((triplets.weights > 0) & np.isfinite(triplets.weights))
    assert np.isfinite(difficulty).all()
    assert np.all(np.diff(difficulty[order]) >= 0)


@few
@given(exact_pairs, st.sampled_from([1, 3, 5]))
def test_mining_does_not_depend_on_the_block_size(pair, block_size):
    jax.tree.map(np.testing.assert_array_equal, mine(*pair, block_size=block_size), mine(*pair))


@few
@given(exact_pairs, st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**20]), st.integers(-8, 8))
def test_mining_is_invariant_to_scale_and_translation(pair, scale, shift):
    """Exact, as the scales are powers of two and the numbers small and whole."""
    student, teacher = pair
    moved = mine(np.float32(scale) * student, teacher + np.float32(shift))
    jax.tree.map(np.testing.assert_array_equal, moved, mine(student, teacher))


@few
@given(exact_pairs)
def test_mining_with_a_ranked_teacher_equals_mining_with_the_teacher(pair):
    student, teacher = pair
    jax.tree.map(np.testing.assert_array_equal, mine(student, rdx.rank_embeddings(teacher)), mine(student, teacher))


# Nothing, and next to nothing.


def test_empty_inputs_have_empty_distances_and_ranks():
    assert rdx.pairwise_distances(jnp.zeros((0, 3)), jnp.zeros((5, 3))).shape == (0, 5)
    assert rdx.pairwise_distances(jnp.zeros((5, 3)), jnp.zeros((0, 3))).shape == (5, 0)
    assert rdx.rank_normalize(jnp.zeros((0, 5))).shape == (0, 5)
    assert rdx.rank_normalize(jnp.zeros((5, 0))).shape == (5, 0)
    np.testing.assert_array_equal(rdx.rank_normalize(jnp.full((2, 1), jnp.nan)), [[0], [0]])


@pytest.mark.parametrize("rows", [0, 1])
def test_mining_fewer_than_two_examples_is_refused(rows):
    for mines in (lambda *pair: rdx.mine(*pair, pool_size=1), rdx.mine_triplets):
        with pytest.raises(ValueError, match=rf"student \({rows}, 3\), teacher \({rows}, 2\)"):
            mines(jnp.zeros((rows, 3)), jnp.zeros((rows, 2)))


def test_two_examples_are_each_others_positive_and_negative():
    table = rdx.mine(jnp.array([[0.0], [1.0]]), jnp.array([[-1e30], [1e30]]), pool_size=1)
    np.testing.assert_array_equal(table.positives, [1, 0])
    np.testing.assert_array_equal(table.negatives, [[1], [0]])
    np.testing.assert_array_equal(table.confusion, 2.0)
