"""RDX against the authors' numbers, and against what its definition promises."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS

from rdd_jax import rdx

SETTINGS = [(0.1, 0.8), (0.1, 5.0)]

# One shape for most tests, so that they share a compilation.
mine = functools.partial(rdx.mine, pool_size=9, block_size=32)
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "rdx.npz"))


@pytest.fixture(scope="module")
def embeddings():
    """Student and teacher of 90 examples: a number that neither blocks of 16 nor 4 devices divide."""
    random = np.random.default_rng(0)
    return random.normal(size=(90, 6)).astype(np.float32), random.normal(size=(90, 10)).astype(np.float32)


@jax.jit
def ranks_of(embeddings, columns=None):
    columns = jnp.arange(len(embeddings)) if columns is None else columns
    distances = rdx.pairwise_distances(embeddings, embeddings[columns])
    return rdx.rank_normalize(jnp.where(jnp.arange(len(embeddings))[:, None] == columns, 0.0, distances))


def assert_same_table(actual, expected):
    np.testing.assert_array_equal(actual.positives, expected.positives)
    np.testing.assert_array_equal(actual.negatives, expected.negatives)
    assert_close(actual.confusion, expected.confusion)


# The authors' numbers. Ranks are integers and their differences tie, so selections are compared by affinity.


def test_ranks_match_golden(golden):
    np.testing.assert_array_equal(ranks_of(golden["z_s"]), golden["rank_s"])
    np.testing.assert_array_equal(ranks_of(golden["z_t"]), golden["rank_t"])


@pytest.mark.parametrize(("gamma", "beta"), SETTINGS)
def test_difference_and_affinities_match_golden(golden, gamma, beta):
    difference = rdx.locally_biased_difference(golden["rank_s"], golden["rank_t"], gamma)
    assert_close(difference, golden[f"diff_g{gamma}_b{beta}"])
    teacher_unique, student_unique = rdx.affinities(difference, beta)
    assert_close(teacher_unique, golden[f"a01_g{gamma}_b{beta}"])
    assert_close(student_unique, golden[f"a10_g{gamma}_b{beta}"])


@pytest.mark.parametrize("restricted", [False, True], ids=["all", "candidates"])
@pytest.mark.parametrize(("gamma", "beta"), SETTINGS)
def test_mine_and_difficulty_match_golden(golden, gamma, beta, restricted):
    expected = {
        name: golden[f"{'anc_' if restricted else ''}{name}_g{gamma}_b{beta}"]
        for name in ("pos", "pool", "weights", "kna")
    }
    candidates = golden[f"anchors_g{gamma}_b{beta}"] if restricted else None
    columns = candidates if restricted else np.arange(64)
    ranks = [ranks_of(golden["z_s"], columns), ranks_of(golden["z_t"], columns)]
    a01, a10 = np.full((2, 64, 64), np.nan)
    a01[:, columns], a10[:, columns] = rdx.affinities(rdx.locally_biased_difference(*ranks, gamma), beta)

    arguments = {"gamma": gamma, "beta": beta, "candidates": candidates, "block_size": 24}
    table = rdx.mine(golden["z_s"], golden["z_t"], pool_size=8, **arguments)
    rows = np.arange(64)
    assert_close(a01[rows, table.positives], a01[rows, expected["pos"]])
    assert_close(np.take_along_axis(a10, table.negatives, 1), np.take_along_axis(a10, expected["pool"], 1))
    # The authors divide every row's sum by m - 1, also where the row is no candidate and all m columns count.
    counted = len(columns) - np.isin(rows, columns)
    assert_close(table.confusion, expected["weights"] * (len(columns) - 1) / counted)
    assert_close(rdx.difficulty(golden["z_s"], golden["z_t"], **arguments), expected["kna"])


@pytest.mark.parametrize(("gamma", "beta"), SETTINGS)
def test_mine_triplets_matches_golden(golden, gamma, beta):
    expected = {name: golden[f"tri_{name}_g{gamma}_b{beta}"] for name in ("pos", "neg", "w")}
    a01, a10 = golden[f"a01_g{gamma}_b{beta}"], golden[f"a10_g{gamma}_b{beta}"]
    table = rdx.mine_triplets(golden["z_s"], golden["z_t"], gamma=gamma, beta=beta, block_size=24)
    rows = np.arange(64)
    assert_close(a01[rows, table.positives], a01[rows, expected["pos"]])
    assert_close(a10[rows, table.negatives], a10[rows, expected["neg"]])
    assert_close(table.weights, expected["w"])


# The definition.


def test_distances_are_euclidean_far_from_the_origin():
    rows, columns = np.random.default_rng(0).normal(size=(2, 20, 5)).astype(np.float32) + 100
    expected = np.linalg.norm(rows.astype(np.float64)[:, None] - columns, axis=-1)
    np.testing.assert_allclose(rdx.pairwise_distances(rows, columns), expected, rtol=1e-4)
    half = rdx.pairwise_distances(jnp.asarray(rows, jnp.bfloat16), jnp.asarray(columns, jnp.bfloat16))
    assert half.dtype == jnp.float32


def test_difference_is_positive_where_the_teacher_groups():
    student, teacher = jnp.array([[5, 0, 3]]), jnp.array([[0, 5, 3]])
    difference = rdx.locally_biased_difference(student, teacher, gamma=0.1)
    assert_close(difference, np.tanh([[0.5, -0.5, 0.0]]))
    teacher_unique, student_unique = rdx.affinities(difference, beta=0.8)
    assert teacher_unique[0, 0] > 1 > student_unique[0, 0]
    assert student_unique[0, 1] > 1 > teacher_unique[0, 1]


def test_mine_finds_the_planted_difference():
    # On a line, the teacher puts example 0 next to 9 and the student next to 1.
    student = jnp.arange(10.0)[:, None]
    teacher = student.at[0].set(9.1)
    table = rdx.mine(student, teacher, pool_size=3)
    assert table.positives[0] == 9
    assert table.negatives[0, 0] == 1


def test_triplets_are_the_first_entries_of_the_table(embeddings):
    table, triplets = mine(*embeddings), rdx.mine_triplets(*embeddings)
    np.testing.assert_array_equal(triplets.positives, table.positives)
    np.testing.assert_array_equal(triplets.negatives, table.negatives[:, 0])


def test_identical_embeddings_have_minimal_confusion_and_difficulty(embeddings):
    student, _ = embeddings
    np.testing.assert_array_equal(mine(student, 2 * student).confusion, 2.0)
    np.testing.assert_array_equal(rdx.difficulty(student, 2 * student, gamma=0.1, beta=0.8), 8.0)


def test_confusion_leaves_out_what_is_excluded():
    affinities = rdx.Affinities(jnp.array([[1.0, 2.0, 90.0]]), jnp.array([[1.0, 3.0, 90.0]]))
    assert_close(rdx.confusion(affinities, exclude=jnp.array([[False, False, True]])), [3.5])


@pytest.mark.parametrize("duplicates", [False, True])
def test_no_example_is_its_own_positive_or_negative(embeddings, duplicates):
    student, teacher = (np.round(x) if duplicates else x for x in embeddings)
    table = rdx.mine(student, teacher, pool_size=89)
    indices = np.arange(90)
    assert not np.any(table.positives == indices)
    others = np.array([np.delete(indices, i) for i in indices])
    np.testing.assert_array_equal(np.sort(table.negatives, axis=1), others)


def test_negatives_are_sorted_although_tanh_saturates(embeddings):
    table = mine(*embeddings, gamma=1e3)
    ranks = [np.take_along_axis(np.asarray(ranks_of(x)), table.negatives, 1) for x in embeddings]
    ratio = (ranks[0] - ranks[1]) / (np.minimum(*ranks) + 1)
    assert np.all(np.diff(ratio, axis=1) >= 0)


def test_only_candidates_are_selected(embeddings):
    candidates = jnp.array([80, 3, 41, 7, 66])
    table = rdx.mine(*embeddings, pool_size=4, candidates=candidates)
    assert np.isin(table.positives, candidates).all()
    assert np.isin(table.negatives, candidates).all()
    assert not np.any(table.negatives == np.arange(90)[:, None])


def test_ranks_break_ties_by_column_and_put_nan_last():
    distances = jnp.array([[2.0, jnp.nan, 0.0, 2.0, -0.0, jnp.inf]])
    ranks = rdx.rank_normalize(distances)
    np.testing.assert_array_equal(ranks, [[2, 5, 0, 3, 1, 4]])
    assert ranks.dtype == jnp.int32
    with jax.disable_jit():
        np.testing.assert_array_equal(rdx.rank_normalize(distances), ranks)


# A teacher with its ranks.


def test_ranked_holds_the_ranks(embeddings):
    for block_size in (1, 32, 512):
        ranked = rdx.rank_embeddings(embeddings[1], block_size=block_size)
        np.testing.assert_array_equal(ranked.embeddings, embeddings[1])
        np.testing.assert_array_equal(ranked.ranks, ranks_of(embeddings[1]))
        assert ranked.ranks.dtype == jnp.uint16
        assert ranked.ranks.nbytes == rdx.ranks_nbytes(90)
    assert rdx.ranks_nbytes(65537) == 4 * 65537**2


@pytest.mark.parametrize(
    "candidates", [None, np.array([80, 3, 41, 7, 66, 1, 2, 30, 89, 12])], ids=["all", "candidates"]
)
def test_a_ranked_teacher_gives_the_same_results(embeddings, candidates):
    student, teacher = embeddings
    ranked = rdx.rank_embeddings(teacher)
    for fn in (mine, rdx.mine_triplets, functools.partial(rdx.difficulty, gamma=0.1, beta=0.8)):
        expected = fn(student, teacher, candidates=candidates)
        jax.tree.map(np.testing.assert_array_equal, fn(student, ranked, candidates=candidates), expected)


def test_the_ranks_of_a_ranked_teacher_are_used_where_all_are_ranked(embeddings):
    student, teacher = embeddings
    false = rdx.rank_embeddings(teacher)._replace(embeddings=jnp.zeros_like(teacher))
    assert_same_table(mine(student, false), mine(student, teacher))
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), rdx.rank_embeddings(teacher))
    tables = jax.vmap(mine, in_axes=(None, 0))(student, batch)
    assert_same_table(jax.tree.map(lambda x: x[1], tables), mine(student, teacher))


def test_ranked_rows_split_over_an_axis(embeddings):
    student, teacher = embeddings

    def split(_):
        ranked = rdx.rank_embeddings(teacher, block_size=16, axis_name="batch")
        return ranked, mine(student, ranked, block_size=16, axis_name="batch")

    ranked, tables = jax.jit(jax.vmap(split, axis_name="batch"))(jnp.arange(4))
    for device in range(4):
        np.testing.assert_array_equal(ranked.ranks[device], ranks_of(teacher))
        assert_same_table(jax.tree.map(lambda x, device=device: x[device], tables), mine(student, teacher))


# Transformations.


def test_jit_and_vmap_of_the_functions_equal_eager(embeddings):
    def pipeline(student, teacher):
        difference = rdx.locally_biased_difference(ranks_of(student), ranks_of(teacher), 0.1)
        affinities = rdx.affinities(difference, 0.8)
        return difference, affinities, rdx.confusion(affinities, jnp.eye(len(student), dtype=bool))

    expected = pipeline(*embeddings)
    jax.tree.map(assert_close, jax.jit(pipeline)(*embeddings), expected)
    batch = [np.stack([x[::-1], x]) for x in embeddings]
    jax.tree.map(lambda x, y: assert_close(x[1], y), jax.jit(jax.vmap(pipeline))(*batch), expected)


def test_jit_and_vmap_of_mine_and_difficulty(embeddings):
    difficulty = functools.partial(rdx.difficulty, gamma=0.1, beta=0.8)
    batch = [np.stack([x, x[::-1]]) for x in embeddings]
    tables, difficulties = jax.jit(jax.vmap(lambda *x: (mine(*x), difficulty(*x))))(*batch)
    for i, one in enumerate(zip(*batch, strict=True)):
        assert_same_table(jax.tree.map(lambda x, i=i: x[i], tables), mine(*one))
        assert_close(difficulties[i], difficulty(*one))


@pytest.mark.parametrize("block_size", [1, 89])
def test_block_size_changes_nothing(embeddings, block_size):
    table = mine(*embeddings, block_size=block_size)
    assert_same_table(table, mine(*embeddings))


def test_rows_split_over_an_axis_give_the_whole_table_everywhere(embeddings):
    split = jax.vmap(lambda _: mine(*embeddings, block_size=16, axis_name="batch"), axis_name="batch")
    tables = jax.jit(split)(jnp.arange(4))
    for device in range(4):
        assert_same_table(jax.tree.map(lambda x, device=device: x[device], tables), mine(*embeddings))


def test_more_devices_than_host_threads_do_not_deadlock():
    # Blocks beyond 100 kB, below which the runtime copies a callback's arguments at once and cannot hang.
    program = """
import jax, jax.numpy as jnp
from rdd_jax import rdx
x = jax.random.normal(jax.random.key(0), (2, 1200, 8))
mine = lambda _, x: rdx.mine(*x, pool_size=10, axis_name="batch").negatives
split = jax.pmap(mine, axis_name="batch", in_axes=(0, None))
for _ in range(3):
    negatives = split(jnp.arange(8), x)
assert (negatives == rdx.mine(*x, pool_size=10).negatives).all()
"""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=True)


# Mistakes.


@pytest.mark.parametrize(
    ("student", "teacher", "arguments", "message"),
    [
        ((9, 4), (8, 4), {}, r"same n; got student \(9, 4\), teacher \(8, 4\)"),
        ((9,), (9, 4), {}, r"student \(9,\)"),
        ((9, 4), (9, 2, 2), {}, r"teacher \(9, 2, 2\)"),
        ((0, 4), (0, 4), {}, "non-empty"),
        ((9, 4), (9, 4), {"pool_size": 9}, r"pool_size must be in \[1, 9\).*got 9 for student \(9, 4\)"),
        ((9, 4), (9, 4), {"pool_size": 0}, "pool_size"),
        ((9, 4), (9, 4), {"pool_size": 3, "candidates": np.arange(3)}, r"pool_size must be in \[1, 3\)"),
        ((9, 4), (9, 4), {"candidates": np.zeros((3, 1), int)}, "candidates must be integers"),
        ((9, 4), (9, 4), {"candidates": np.zeros(3)}, "candidates must be integers"),
        ((9, 4), (9, 4), {"block_size": 0}, "block_size"),
    ],
)
def test_impossible_sizes_are_refused(student, teacher, arguments, message):
    with pytest.raises(ValueError, match=message):
        rdx.mine(jnp.ones(student), jnp.ones(teacher), **{"pool_size": 2, **arguments})


def test_difficulty_refuses_more_neighbors_than_columns():
    with pytest.raises(ValueError, match=r"neighbors must be in \[1, 8\)"):
        rdx.difficulty(jnp.ones((8, 4)), jnp.ones((8, 4)), gamma=0.1, beta=0.8)


def test_ranks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"ranks must be \[n,n\]; got \(8, 7\)"):
        rdx.mine(jnp.ones((8, 4)), rdx.RankedEmbeddings(jnp.ones((8, 4)), jnp.zeros((8, 7), jnp.uint16)), pool_size=2)
    with pytest.raises(ValueError, match=r"same n; got student \(9, 4\), teacher \(8, 4\)"):
        rdx.mine(jnp.ones((9, 4)), rdx.rank_embeddings(jnp.ones((8, 4))), pool_size=2)


@pytest.mark.parametrize(("shape", "block_size"), [((8,), 4), ((0, 4), 4), ((8, 4), 0)])
def test_ranked_refuses_impossible_sizes(shape, block_size):
    with pytest.raises(ValueError, match="non-empty"):
        rdx.rank_embeddings(jnp.ones(shape), block_size=block_size)


def test_difficulty_order_breaks_ties_of_the_saturated_sum():
    """The sum alone would leave the examples in the order of their indices, as tanh is 1 for all."""
    student, teacher = np.random.default_rng(2).normal(size=(2, 1500, 8)).astype(np.float32)
    sums = np.asarray(rdx.difficulty(student, teacher, gamma=0.1, beta=0.8))
    order = np.asarray(rdx.difficulty_order(student, teacher))
    assert sorted(order) == list(range(1500))
    assert (np.diff(sums[order]) >= 0).all()
    saturated = order[sums[order] == sums.max()]
    assert len(saturated) > 500
    assert abs(np.corrcoef(saturated, np.arange(len(saturated)))[0, 1]) < 0.15


MINERS = {
    "mine": functools.partial(rdx.mine, pool_size=3),
    "mine_triplets": rdx.mine_triplets,
    "difficulty": functools.partial(rdx.difficulty, gamma=0.1, beta=0.8),
    "difficulty_order": rdx.difficulty_order,
}


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(embeddings, name, value):
    student, teacher = (array.copy() for array in embeddings)
    teacher[7, 2] = value
    with pytest.raises(ValueError, match=r"^teacher embeddings \(90, 10\) are not finite"):
        MINERS[name](student, teacher)
    with pytest.raises(ValueError, match=r"^student embeddings \(90, 10\) are not finite"):
        MINERS[name](teacher, student)


def test_inside_jit_one_nan_makes_the_confusion_nan(embeddings):
    student, teacher = (array.copy() for array in embeddings)
    teacher[7, 2] = np.nan
    mined = jax.jit(mine)
    assert np.isnan(mined(student, teacher).confusion).all()
    assert np.isfinite(mined(*embeddings).confusion).all()
