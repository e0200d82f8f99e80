"""RDX's explanation of the difference between two representations (Kondapaneni et al. 2025)."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from rdd_jax import rdx
from rdd_jax.analysis.explain import clusters, success_rate
from rdd_jax.analysis.explain.clusters import Cluster
from rdd_jax.analysis.explain.success_rate import Chance, SuccessRate
from rdd_jax.core.progress import is_interactive
from rdd_jax.core.types import Array
from rdd_jax.rdx import ranking
from rdd_jax.rdx.sorting import ranks_dtype

_GAMMA_TIMES_EXAMPLES = 80.0
# The locally biased difference, in [0, 1], from which a pair by itself is worth showing.
_STRONG_DIFFERENCE = 0.5
_BLOCK_ROWS = 256


class Direction(NamedTuple):
    """The examples that one model groups and the other does not.

    clusters: in descending order of mean affinity; () where the models agree.
    null: i64[m], indices of the examples in no cluster, in ascending order.
    success: the binary success rate of the clusters' grids.
    chance: the success rate of random grids of the same sizes; without clusters, of `num_clusters` full grids.
    grid_ranks: for each cluster the median neighbourhood rank of its grid's pairs, in the model that groups them and in
        the other.
    """

    clusters: tuple[Cluster, ...]
    null: np.ndarray
    success: SuccessRate
    chance: Chance
    grid_ranks: tuple[tuple[float, float], ...]

    def assignment(self) -> np.ndarray:
        """Returns the cluster of every example, i64[n]; -1 for examples in none."""
        members = [cluster.members for cluster in self.clusters]
        assigned = np.full(len(self.null) + sum(map(len, members)), -1)
        for number, positions in enumerate(members):
            assigned[positions] = number
        return assigned


class Explanation(NamedTuple):
    """The explanation of the difference between two models.

    teacher_unique: what the teacher groups and the student does not.
    student_unique: what the student groups and the teacher does not.
    gamma: the sharpness of the locally biased difference.
    beta: the temperature of the affinities.
    """

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

    The steps are those of Kondapaneni et al. 2025 and its release: neighbourhood ranks, locally biased difference,
    affinities of both directions, spectral clustering of the symmetrised affinity (A + A^T)/2 with a null cluster, and
    grids. Two steps differ. Clusters whose affinity is hardly above neutral are dropped (see `clusters.find`), so that
    equal models, or a rotated and scaled copy, have none. The eigenvectors of the affinity are found without
    factorising it (see `clusters.spectral_labels`). The memory is 8 n^2 bytes and more: 1.4 GB for n = 10,000.

    Args:
        student_embeddings: f32[n,ds].
        teacher_embeddings: f32[n,dt], of the same examples in the same order.
        gamma: sharpness of the difference, > 0; 80 / n if None.
        beta: temperature of the affinities, in (0, 80].
        num_clusters: the largest number of clusters in each direction, besides the null cluster; below n // 2.
        grid_size: the number of images in a grid, at least 2.
        seed: of the clustering and of the random grids.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes, or a value is not finite.
    """
    student, teacher = _checked(student_embeddings, teacher_embeddings, gamma, beta, num_clusters, grid_size)
    gamma = gamma or _GAMMA_TIMES_EXAMPLES / len(student)
    blocks = list(_row_blocks(len(student)))
    # Not in a log file, and only where there is something to wait for.
    hidden = not is_interactive()
    with tqdm(total=4 * len(blocks) + 2, desc="ranking", unit="block", leave=False, delay=2, disable=hidden) as bar:
        student_ranks, teacher_ranks = (_ranks(embeddings, blocks, bar) for embeddings in (student, teacher))

        def direction(grouping_ranks: np.ndarray, other_ranks: np.ndarray) -> Direction:
            bar.set_description("clustering")
            affinity = _affinity(grouping_ranks, other_ranks, gamma, beta, blocks, bar)
            strong = float(np.exp(beta * _STRONG_DIFFERENCE))
            found = clusters.find(affinity, num_clusters=num_clusters, grid_size=grid_size, strong=strong, seed=seed)
            bar.update()
            return _direction_of(found, grouping_ranks, other_ranks, num_clusters, grid_size, seed)

        return Explanation(
            teacher_unique=direction(teacher_ranks, student_ranks),
            student_unique=direction(student_ranks, teacher_ranks),
            gamma=gamma,
            beta=beta,
        )


def _checked(
    student: Array | np.ndarray,
    teacher: Array | np.ndarray,
    gamma: float | None,
    beta: float,
    num_clusters: int,
    grid_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings as f32; raises ValueError for impossible arguments."""
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
    """Yields blocks of one size, for one compilation, that cover all rows; the last overlaps the one before."""
    rows = min(_BLOCK_ROWS, n)
    return (slice(start, start + rows) for start in (*range(0, n - rows, rows), n - rows))


def _ranks(embeddings: np.ndarray, blocks: list[slice], bar: tqdm) -> np.ndarray:
    """Returns the rank [n,n] of column j in row i's ascending order of distances, as `ranks_dtype(n)`."""
    n, points = len(embeddings), jnp.asarray(embeddings)
    ranks = np.empty((n, n), ranks_dtype(n))
    for rows in blocks:
        ranks[rows] = _rank_block(points, jnp.arange(n)[rows])
        bar.update()
    return ranks


@jax.jit
def _rank_block(embeddings: Array, rows: Array) -> Array:
    return ranking.make_rank_fn(embeddings, candidates=None)(rows, rows[:, None] == jnp.arange(len(embeddings)))


def _affinity(
    grouping_ranks: np.ndarray, other_ranks: np.ndarray, gamma: float, beta: float, blocks: list[slice], bar: tqdm
) -> np.ndarray:
    """Returns (A + A^T)/2, f32[n,n]: large where `grouping_ranks` are small and `other_ranks` are not."""
    affinity = np.empty(grouping_ranks.shape, np.float32)
    for rows in blocks:
        block, transposed = (
            (grouping_ranks[rows], other_ranks[rows]),
            (grouping_ranks[:, rows].T, other_ranks[:, rows].T),
        )
        affinity[rows] = _symmetric_block(block, transposed, gamma, beta)
        bar.update()
    return affinity


@jax.jit
def _symmetric_block(block: tuple[Array, Array], transposed: tuple[Array, Array], gamma: float, beta: float) -> Array:
    def unique(grouping_ranks: Array, other_ranks: Array) -> Array:
        return rdx.affinities(rdx.locally_biased_difference(other_ranks, grouping_ranks, gamma), beta).teacher_unique

    return (unique(*block) + unique(*transposed)) / 2


def _direction_of(
    found: tuple[Cluster, ...],
    grouping_ranks: np.ndarray,
    other_ranks: np.ndarray,
    num_clusters: int,
    grid_size: int,
    seed: int,
) -> Direction:
    """Returns the direction with these clusters and their success rate."""
    n, grids = len(grouping_ranks), [cluster.grid for cluster in found]
    sizes = [len(grid) for grid in grids] or [min(grid_size, n // num_clusters)] * num_clusters
    in_no_cluster = np.ones(n, bool)
    for cluster in found:
        in_no_cluster[cluster.members] = False
    return Direction(
        clusters=found,
        null=np.flatnonzero(in_no_cluster),
        success=success_rate.success_rate(grouping_ranks, other_ranks, grids),
        chance=success_rate.chance(grouping_ranks, other_ranks, sizes, seed),
        grid_ranks=tuple((_median_rank(grouping_ranks, grid), _median_rank(other_ranks, grid)) for grid in grids),
    )


def _median_rank(ranks: np.ndarray, grid: np.ndarray) -> float:
    return float(np.median(ranks[np.ix_(grid, grid)][~np.eye(len(grid), dtype=bool)]))
