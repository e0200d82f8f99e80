"""RDX's explanation of two representations (Kondapaneni et al. 2025): what does the one group and the other not?"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from rdd_jax import rdx
from rdd_jax.analysis.explain import clusters, success_rate
from rdd_jax.analysis.explain.clusters import Cluster
from rdd_jax.analysis.explain.success_rate import Chance, SuccessRate
from rdd_jax.core.types import Array
from rdd_jax.rdx import ranking
from rdd_jax.rdx.sorting import ranks_dtype

_GAMMA_TIMES_EXAMPLES = 80.0
# From this difference on, half of what there can be, a pair by itself is worth showing.
_STRONG_DIFFERENCE = 0.5
_BLOCK_ROWS = 256


class Direction(NamedTuple):
    """What the one model groups and the other does not.

    clusters: the strongest first; none where there is nothing to show.
    null: i64[m], ascending positions of all other examples.
    success: the binary success rate of the clusters' grids.
    chance: that of random grids of the same sizes; where there are no clusters, of as many full grids as were wanted.
    grid_ranks: for each cluster the median neighbourhood rank of its grid's pairs (in the model that groups them, in
        the other).
    """

    clusters: tuple[Cluster, ...]
    null: np.ndarray
    success: SuccessRate
    chance: Chance
    grid_ranks: tuple[tuple[float, float], ...]

    def assignment(self) -> np.ndarray:
        """The cluster of every example, i64[n]; -1 for those in none."""
        members = [cluster.members for cluster in self.clusters]
        assigned = np.full(len(self.null) + sum(map(len, members)), -1)
        for number, positions in enumerate(members):
            assigned[positions] = number
        return assigned


class Explanation(NamedTuple):
    """Both directions, and the gamma and beta they were computed with."""

    teacher_unique: Direction
    student_unique: Direction
    gamma: float
    beta: float


def explain(
    student_embeddings: Array | np.ndarray,
    teacher_embeddings: Array | np.ndarray,
    *,
    gamma: float | None = None,
    beta: float = 5.0,
    num_clusters: int = 5,
    grid_size: int = 9,
    seed: int = 0,
) -> Explanation:
    """Explains how two representations of the same examples differ.

    Neighbourhood ranks, locally biased difference, affinities of both directions, spectral clustering of the
    symmetrised affinity (A + A^T)/2 with a null cluster, and grids, as in Kondapaneni et al. 2025 and its release. Two
    departures: clusters whose affinity is hardly above neutral are not shown (see `clusters.find`), so that two equal
    models, or a rotated and scaled copy, have none; and the eigenvectors of the same dense matrix are found without
    factorising it (see `clusters.spectral_labels`). 8 n^2 bytes are held: 1.4 GB in all for n = 10,000.

    Args:
        student_embeddings: f32[n,ds].
        teacher_embeddings: f32[n,dt], of the same examples in the same order. Any two models will do.
        gamma: sharpness of the difference, > 0; 80 / n if None.
        beta: temperature of the affinities, in (0, 80].
        num_clusters: at most so many in each direction, besides the null cluster, and below n // 2.
        grid_size: images in a grid, at least 2.
        seed: of the clustering and of the random grids.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes, or a value is not finite.
    """
    student, teacher = _checked(student_embeddings, teacher_embeddings, gamma, beta, num_clusters, grid_size)
    gamma = gamma or _GAMMA_TIMES_EXAMPLES / len(student)
    blocks = list(_row_blocks(len(student)))
    # On a terminal, and only where there is something to wait for.
    with tqdm(total=4 * len(blocks) + 2, desc="ranking", unit="block", leave=False, delay=2, disable=None) as bar:
        student_ranks, teacher_ranks = (_ranks(embeddings, blocks, bar) for embeddings in (student, teacher))

        def direction(near_ranks, far_ranks):
            bar.set_description("clustering")
            affinity = _affinity(near_ranks, far_ranks, gamma, beta, blocks, bar)
            strong = float(np.exp(beta * _STRONG_DIFFERENCE))
            found = clusters.find(affinity, num_clusters=num_clusters, grid_size=grid_size, strong=strong, seed=seed)
            bar.update()
            return _measured(found, near_ranks, far_ranks, num_clusters, grid_size, seed)

        return Explanation(
            teacher_unique=direction(teacher_ranks, student_ranks),
            student_unique=direction(student_ranks, teacher_ranks),
            gamma=gamma,
            beta=beta,
        )


def _checked(student, teacher, gamma, beta, num_clusters, grid_size) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings as f32, or a ValueError."""
    student, teacher = (np.asarray(embeddings, np.float32) for embeddings in (student, teacher))
    shapes = f"student {student.shape}, teacher {teacher.shape}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not student.size or not teacher.size:
        raise ValueError(f"embeddings must be non-empty [n, ds] and [n, dt] with the same n; got {shapes}")
    if not (np.isfinite(student).all() and np.isfinite(teacher).all()):
        raise ValueError(f"embeddings must be finite; got NaN or infinity in {shapes}")
    if not 1 <= num_clusters < len(student) // 2:
        raise ValueError(
            f"num_clusters must be in [1, {len(student) // 2}), half of n, for {shapes}; got {num_clusters}"
        )
    if grid_size < 2 or not 0 < beta <= 80 or not (gamma is None or 0 < gamma < np.inf):
        raise ValueError(
            f"grid_size must be at least 2, beta in (0, 80] and gamma above 0; got {grid_size}, {beta}, {gamma}"
        )
    return student, teacher


def _row_blocks(n: int) -> Iterator[slice]:
    """All rows in blocks of one size, so that nothing is compiled twice: the last overlaps the one before."""
    rows = min(_BLOCK_ROWS, n)
    return (slice(start, start + rows) for start in (*range(0, n - rows, rows), n - rows))


def _ranks(embeddings: np.ndarray, blocks: list[slice], bar: tqdm) -> np.ndarray:
    """The position [n,n] of column j in row i's ascending order of distances, as `ranks_dtype(n)`."""
    n, embeddings = len(embeddings), jnp.asarray(embeddings)
    ranks = np.empty((n, n), ranks_dtype(n))
    for rows in blocks:
        ranks[rows] = _rank_block(embeddings, jnp.arange(n)[rows])
        bar.update()
    return ranks


@jax.jit
def _rank_block(embeddings: Array, rows: Array) -> Array:
    return ranking.make_rank_fn(embeddings, candidates=None)(rows, rows[:, None] == jnp.arange(len(embeddings)))


def _affinity(near_ranks, far_ranks, gamma: float, beta: float, blocks: list[slice], bar: tqdm) -> np.ndarray:
    """(A + A^T)/2, f32[n,n]: high where `near_ranks` are small and `far_ranks` are not."""
    affinity = np.empty(near_ranks.shape, np.float32)
    for rows in blocks:
        forth, back = (near_ranks[rows], far_ranks[rows]), (near_ranks[:, rows].T, far_ranks[:, rows].T)
        affinity[rows] = _symmetric_block(forth, back, gamma, beta)
        bar.update()
    return affinity


@jax.jit
def _symmetric_block(forth: tuple[Array, Array], back: tuple[Array, Array], gamma: Array, beta: Array) -> Array:
    def unique(near_ranks, far_ranks):
        return rdx.affinities(rdx.locally_biased_difference(far_ranks, near_ranks, gamma), beta).teacher_unique

    return (unique(*forth) + unique(*back)) / 2


def _measured(found, near_ranks, far_ranks, num_clusters: int, grid_size: int, seed: int) -> Direction:
    """The direction with these clusters."""
    n, grids = len(near_ranks), [cluster.grid for cluster in found]
    sizes = [len(grid) for grid in grids] or [min(grid_size, n // num_clusters)] * num_clusters
    in_none = np.ones(n, bool)
    for cluster in found:
        in_none[cluster.members] = False
    return Direction(
        clusters=found,
        null=np.flatnonzero(in_none),
        success=success_rate.success_rate(near_ranks, far_ranks, grids),
        chance=success_rate.chance(near_ranks, far_ranks, sizes, seed),
        grid_ranks=tuple((_median_rank(near_ranks, grid), _median_rank(far_ranks, grid)) for grid in grids),
    )


def _median_rank(ranks: np.ndarray, grid: np.ndarray) -> float:
    return float(np.median(ranks[np.ix_(grid, grid)][~np.eye(len(grid), dtype=bool)]))
