"""The three measures against their definitions, written out pair by pair in NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rdd_jax.analysis import similarity

N, K = 90, 7
MEASURES = [similarity.linear_cka, similarity.rank_correlation, similarity.mutual_knn]
IN_BLOCKS = MEASURES[1:]


@pytest.fixture(scope="module")
def spaces():
    """A student, and a teacher that shares some of its directions: far from the origin, and of other widths."""
    random = np.random.default_rng(0)
    student = random.normal(size=(N, 6))
    teacher = np.concatenate([2 * student[:, :3], random.normal(size=(N, 7))], axis=1)
    return np.float32(student + 5), np.float32(teacher - 9)


@pytest.fixture(scope="module")
def unrelated():
    """Two spaces of 1,000 examples: of 5 directions and of 8."""
    random = np.random.default_rng(1)
    return np.float32(random.normal(size=(1000, 5))), np.float32(random.normal(size=(1000, 8)))


def distances(embeddings):
    """To the others alone: f64[n,n-1] and which others they are."""
    embeddings = embeddings.astype(np.float64)
    whole = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1)
    others = np.array([np.delete(np.arange(len(whole)), i) for i in range(len(whole))])
    return np.take_along_axis(whole, others, axis=1), others


# The definitions.


def test_cka_is_the_alignment_of_centred_kernels(spaces):
    centering = np.eye(N) - 1 / N
    kernels = [centering @ np.float64(space) @ np.float64(space).T @ centering for space in spaces]

    def hsic(one, other):
        return np.trace(one @ other)

    expected = hsic(*kernels) / np.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))
    assert 0.2 < expected < 0.8  # Else the scene would show nothing.
    np.testing.assert_allclose(similarity.linear_cka(*spaces), expected, rtol=1e-4)


def test_rank_agreement_is_spearmans_correlation(spaces):
    student, teacher = (distances(space)[0] for space in spaces)
    expected = np.mean([scipy.stats.spearmanr(*pair).statistic for pair in zip(student, teacher, strict=True)])
    assert 0.2 < expected < 0.8
    np.testing.assert_allclose(similarity.rank_correlation(*spaces), expected, rtol=1e-4)


def test_neighbors_shared_is_counted_by_hand(spaces):
    nearest = []
    for space in spaces:
        to_others, others = distances(space)
        nearest.append([set(others[i, np.argsort(to_others[i])[:K]]) for i in range(N)])
    expected = np.mean([len(student & teacher) / K for student, teacher in zip(*nearest, strict=True)])
    assert 0.2 < expected < 0.8
    np.testing.assert_allclose(similarity.mutual_knn(*spaces, neighbors=K), expected, rtol=1e-6)


# What follows from them.


@pytest.mark.parametrize("measure", MEASURES)
def test_a_space_agrees_with_itself_turned_scaled_and_moved(spaces, measure):
    student, _ = spaces
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0].astype(np.float32)
    np.testing.assert_allclose(measure(student, student), 1.0, rtol=1e-6)
    np.testing.assert_allclose(measure(student, 30 * student @ rotation + 1), 1.0, atol=2e-3)


@pytest.mark.parametrize("measure", MEASURES)
def test_neither_space_comes_first(spaces, measure):
    student, teacher = spaces
    np.testing.assert_allclose(measure(student, teacher), measure(teacher, student), rtol=1e-5)


def test_unrelated_spaces_agree_by_chance(unrelated):
    np.testing.assert_allclose(similarity.linear_cka(*unrelated), np.sqrt(5 * 8) / 1000, rtol=0.5)
    assert abs(similarity.rank_correlation(*unrelated)) < 0.05
    for neighbors in (10, 100):
        shared = similarity.mutual_knn(*unrelated, neighbors=neighbors)
        np.testing.assert_allclose(shared, neighbors / 999, rtol=0.2)


def test_opposite_orders_are_told_from_unrelated_ones():
    # Of the three distances, the least is the largest in the other space, and the middle one stays in the middle.
    student, teacher = jnp.array([[0.0], [1.0], [3.0]]), jnp.array([[0.0], [3.0], [1.0]])
    np.testing.assert_allclose(similarity.rank_correlation(student, teacher), -1.0)
    np.testing.assert_allclose(similarity.mutual_knn(student, teacher, neighbors=1), 0.0)
    np.testing.assert_allclose(similarity.mutual_knn(student, teacher, neighbors=2), 1.0)


def test_no_example_is_its_own_neighbour_though_others_are_in_its_place():
    # Pairs in one place: the nearest is the other one, whichever comes first.
    student = jnp.repeat(jnp.arange(4.0), 2)[:, None]
    teacher = jnp.tile(jnp.arange(4.0), 2)[:, None]
    assert similarity.mutual_knn(student, 2 * student, neighbors=1) == 1.0
    assert similarity.mutual_knn(student, teacher, neighbors=1) == 0.0


def test_equal_distances_rank_by_position():
    # Nothing is told apart in the student: from each of three, the others rank as they stand. In the teacher they rank
    # so from 0 and from 1, and the other way round from 2.
    student, teacher = jnp.zeros((3, 1)), jnp.array([[0.0], [1.0], [3.0]])
    np.testing.assert_allclose(similarity.rank_correlation(student, teacher), (1 + 1 - 1) / 3, rtol=1e-6)
    assert np.isnan(similarity.linear_cka(student, teacher))


@pytest.mark.parametrize("measure", IN_BLOCKS)
def test_the_size_of_blocks_does_not_matter(spaces, measure):
    whole = measure(*spaces)
    for block_size in (1, 16, N):
        np.testing.assert_allclose(measure(*spaces, block_size=block_size), whole, rtol=1e-6)


@pytest.mark.parametrize("measure", IN_BLOCKS)
def test_memory_grows_with_the_block_and_not_with_the_square(measure):
    embeddings = jax.ShapeDtypeStruct((20_000, 8), jnp.float32)
    needs = measure.lower(embeddings, embeddings, block_size=64).compile().memory_analysis()
    assert needs.temp_size_in_bytes < 20 * 64 * 20_000 * 4 < 20_000**2


@pytest.mark.parametrize("measure", MEASURES)
def test_what_cannot_be_compared_is_named(measure):
    for student, teacher in [((12, 3), (13, 3)), ((12,), (12, 3)), ((12, 3), (12, 3, 1)), ((12, 3), (12, 0))]:
        with pytest.raises(ValueError, match="with the same n; got student") as caught:
            measure(np.zeros(student), np.zeros(teacher))
        assert str(student) in str(caught.value)
        assert str(teacher) in str(caught.value)


def test_impossible_sizes_are_named(spaces):
    two = np.zeros((2, 3))
    for measure, options in zip(MEASURES, ({}, {}, {"neighbors": 1}), strict=True):
        with pytest.raises(ValueError, match=r"at least three examples .* \(2, 3\)"):
            measure(two, two, **options)
    for neighbors in (0, N):
        with pytest.raises(ValueError, match=rf"in \[1, n\); got {neighbors} for student \({N}, 6\)"):
            similarity.mutual_knn(*spaces, neighbors=neighbors)
    for measure in IN_BLOCKS:
        with pytest.raises(ValueError, match="block_size must be at least 1; got 0"):
            measure(*spaces, block_size=0)
