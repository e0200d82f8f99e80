"""RDX explanations from two arrays: planted differences are found, and none where there are none."""

import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from tqdm import tqdm

from rdd_jax.analysis.explain import clusters, explain, explanation, success_rate

GROUP = 40
MERGED, SCATTERED = (0, 1), 5


def planted(seed=0):
    """-> student f32[240,8], teacher f32[240,6], group i64[240].

    Six groups far from each other, but the student has 0 and 1 in one place, and 5 scattered over those of 2 to 4.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(6), GROUP)
    teacher = 6 * np.eye(6)[group] + rng.normal(size=(len(group), 6))
    place = np.where(group == 1, 0, group)
    place[group == SCATTERED] = rng.integers(2, 5, GROUP)
    student = 6 * np.eye(8)[place] + rng.normal(size=(len(group), 8))
    return student.astype(np.float32), teacher.astype(np.float32), group


@pytest.fixture(scope="module")
def planted_explanation():
    return explain(*planted()[:2], num_clusters=1)


def test_merged_groups_are_a_cluster_of_the_student(planted_explanation):
    group = planted()[2]
    (cluster,) = planted_explanation.student_unique.clusters
    assert np.isin(group[cluster.members], MERGED).mean() > 0.9
    assert all(np.isin(np.flatnonzero(group == one), cluster.members).mean() > 0.9 for one in MERGED)
    assert set(group[cluster.grid]) == set(MERGED)


def test_a_scattered_group_is_a_cluster_of_the_teacher(planted_explanation):
    group = planted()[2]
    (cluster,) = planted_explanation.teacher_unique.clusters
    assert (group[cluster.members] == SCATTERED).mean() > 0.9
    assert np.isin(np.flatnonzero(group == SCATTERED), cluster.members).mean() > 0.9
    assert set(group[cluster.grid]) == {SCATTERED}


def test_grids_succeed_and_random_ones_do_not(planted_explanation):
    for direction in planted_explanation[:2]:
        assert direction.success.pairs == 9 * 8
        assert direction.success.rate > 0.9
        assert 0.35 < direction.chance.mean < 0.65
        assert 0 < direction.chance.deviation < 0.15
        ((near, far),) = direction.grid_ranks
        assert 4 * near < far


def test_every_example_is_in_one_cluster_or_in_none():
    for direction in explain(*planted()[:2], num_clusters=4)[:2]:
        positions = np.concatenate([direction.null, *(cluster.members for cluster in direction.clusters)])
        assert sorted(positions) == list(range(6 * GROUP))
        assignment = direction.assignment()
        assert (assignment[direction.null] == -1).all()
        for number, cluster in enumerate(direction.clusters):
            assert (assignment[cluster.members] == number).all()
            assert np.isin(cluster.grid, cluster.members).all()
            assert len(set(cluster.grid)) == len(cluster.grid) == min(9, len(cluster.members))
        strengths = [cluster.mean_affinity for cluster in direction.clusters]
        assert strengths == sorted(strengths, reverse=True)


def test_mean_affinity_is_the_papers(planted_explanation):
    def ranks(embeddings):
        distances = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1)
        return distances.argsort(axis=1).argsort(axis=1).astype(float)

    student, teacher = (ranks(embeddings.astype(float)) for embeddings in planted()[:2])
    assert planted_explanation.gamma == 80 / len(student)
    assert planted_explanation.beta == 5
    gain = np.tanh(80 / len(student) * (student - teacher) / (np.minimum(student, teacher) + 1))
    affinity = np.exp(5 * gain)
    symmetric = (affinity + affinity.T) / 2
    (cluster,) = planted_explanation.teacher_unique.clusters
    of_pairs = symmetric[np.ix_(cluster.members, cluster.members)][~np.eye(len(cluster.members), dtype=bool)]
    np.testing.assert_allclose(cluster.mean_affinity, of_pairs.mean(), rtol=1e-4)


def alike(embeddings, kind):
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(embeddings.shape[1],) * 2))[0]
    return {"itself": embeddings, "scaled": 1000 * embeddings, "rotated": 3 * embeddings @ rotation + 5}[kind]


@pytest.mark.parametrize("kind", ["itself", "scaled", "rotated"])
@pytest.mark.parametrize("num_clusters", [1, 5])
def test_nothing_is_found_in_two_models_that_agree(kind, num_clusters):
    teacher = planted()[1]
    for direction in explain(alike(teacher, kind), teacher, num_clusters=num_clusters)[:2]:
        assert direction.clusters == ()
        assert len(direction.null) == len(teacher)
        assert direction.success == (0, 0, 0)
        assert direction.success.rate is None
        assert direction.chance.mean < 0.01
        assert direction.chance.tied_share > 0.98


def test_exchanging_the_models_exchanges_the_directions(planted_explanation):
    student, teacher, _ = planted()
    exchanged = explain(teacher, student, num_clusters=1)
    for one, other in zip(planted_explanation[:2], (exchanged.student_unique, exchanged.teacher_unique), strict=True):
        np.testing.assert_array_equal(one.clusters[0].members, other.clusters[0].members)
        assert one.success == other.success


def test_the_order_of_the_examples_does_not_matter(planted_explanation):
    student, teacher, _ = planted()
    order = np.random.default_rng(2).permutation(len(student))
    shuffled = explain(student[order], teacher[order], num_clusters=1)
    for one, other in zip(planted_explanation[:2], shuffled[:2], strict=True):
        np.testing.assert_array_equal(one.clusters[0].members, np.sort(order[other.clusters[0].members]))


@pytest.mark.parametrize("rows", [7, 120, 10_000])
def test_the_size_of_the_blocks_does_not_matter(planted_explanation, monkeypatch, rows):
    monkeypatch.setattr(explanation, "_BLOCK_ROWS", rows)
    blocked = explain(*planted()[:2], num_clusters=1)
    for one, other in zip(planted_explanation[:2], blocked[:2], strict=True):
        np.testing.assert_array_equal(one.clusters[0].members, other.clusters[0].members)
        assert one.success == other.success


def test_the_progress_bar_comes_to_its_end(monkeypatch):
    left = []

    class Counted(tqdm):
        def __init__(self, *, total, **options):
            left.append(total)
            super().__init__(total=total, **options)

        def update(self, n=1):
            left[0] -= n

    monkeypatch.setattr(explanation, "tqdm", Counted)
    monkeypatch.setattr(explanation, "_BLOCK_ROWS", 50)
    explain(*planted()[:2], num_clusters=1)
    assert left == [0]


@pytest.mark.parametrize("across", [False, True])
def test_clustering_is_scikit_learns(across):
    group = np.arange(90) % 3
    near = group[:, None] == group
    if across:  # Of one group, only the two halves hang together, and neither by itself: what was merged looks so.
        half = np.arange(90) // 3 % 2
        near &= (group[:, None] > 0) | (half[:, None] != half)
    affinity = np.exp(np.random.default_rng(0).normal(size=(90, 90)) + 1.5 * near).astype(np.float32)
    affinity = (affinity + affinity.T) / 2
    ours = clusters.spectral_labels(affinity, 3, seed=0)
    theirs = SpectralClustering(3, affinity="precomputed", random_state=0).fit_predict(affinity)
    assert adjusted_rand_score(ours, theirs) == 1
    assert adjusted_rand_score(ours, group) > 0.9


def test_a_weak_or_tiny_cluster_is_not_shown():
    affinity = np.ones((60, 60), np.float32)
    affinity[:20, :20], affinity[30:32, 30:32] = 9, 100
    np.fill_diagonal(affinity, 1)
    options = {"num_clusters": 2, "grid_size": 4, "seed": 0}
    (cluster,) = clusters.find(affinity, strong=8.0, **options)
    assert list(cluster.members) == list(range(20))
    assert cluster.mean_affinity == pytest.approx(9)
    assert len(cluster.grid) == 4
    assert clusters.find(affinity, strong=101.0, **options) == ()


def test_a_grid_is_what_hangs_together_most():
    affinity = np.ones((40, 40), np.float32)
    affinity[:12, :12] = 20
    affinity[3:7, 3:7] = 90
    np.fill_diagonal(affinity, 1)
    (cluster,) = clusters.find(affinity, num_clusters=1, grid_size=4, strong=8.0, seed=0)
    assert sorted(cluster.grid) == [3, 4, 5, 6]


def test_success_rate_by_hand():
    near = np.array([[0, 1, 2, 3], [2, 0, 1, 3], [1, 3, 0, 2], [1, 2, 3, 0]])
    far = np.array([[0, 2, 3, 1], [1, 0, 2, 3], [2, 3, 0, 1], [1, 2, 3, 0]])
    rate = success_rate.success_rate(near, far, [np.array([0, 1, 2]), np.array([3])])
    # (0,1), (0,2), (1,2), (2,0) are nearer, (1,0) is farther, (2,1) ties.
    assert rate == (6, 4, 1)
    assert rate.rate == pytest.approx(4 / 6)
    assert rate.tied_share == pytest.approx(1 / 6)


def test_chance_is_the_share_of_all_pairs():
    rng = np.random.default_rng(0)
    near, far = (rng.random((50, 50)).argsort(axis=1).argsort(axis=1) for _ in range(2))
    for ranks in (near, far):
        np.fill_diagonal(ranks, 0)
    others = ~np.eye(50, dtype=bool)
    drawn = success_rate.chance(near, far, [9, 9, 5], seed=0)
    assert drawn.mean == pytest.approx((near < far)[others].mean(), abs=0.03)
    assert drawn.tied_share == pytest.approx((near == far)[others].mean(), abs=0.03)
    assert drawn == success_rate.chance(near, far, [9, 9, 5], seed=0)
    assert drawn != success_rate.chance(near, far, [9, 9, 5], seed=1)


ROWS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "words"),
    [
        (ROWS, ROWS[:19], {}, r"\(20, 3\).*\(19, 3\)"),
        (ROWS, ROWS[:, 0], {}, r"\(20,\)"),
        (ROWS[:0], ROWS[:0], {}, "non-empty"),
        (ROWS, np.where(ROWS > 2, np.nan, ROWS * np.inf), {}, "finite"),
        (ROWS, ROWS, {"num_clusters": 10}, r"num_clusters.*10"),
        (ROWS, ROWS, {"num_clusters": 0}, r"num_clusters.*0"),
        (ROWS, ROWS, {"grid_size": 1}, "grid_size"),
        (ROWS, ROWS, {"beta": 0.0}, "beta"),
        (ROWS, ROWS, {"beta": 100.0}, "beta"),
        (ROWS, ROWS, {"gamma": 0.0}, "gamma"),
        (ROWS, ROWS, {"gamma": -1.0}, "gamma"),
    ],
)
def test_what_cannot_be_explained_is_refused(student, teacher, options, words):
    with pytest.raises(ValueError, match=words):
        explain(student, teacher, **options)
