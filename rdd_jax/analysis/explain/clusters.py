"""Which examples hang together by an affinity, and which few of them show it best."""

from typing import NamedTuple

import numpy as np

# A pair alone is no group.
_FEWEST_MEMBERS = 3


class Cluster(NamedTuple):
    """Examples that the one model groups and the other does not.

    members: i64[m], ascending positions.
    mean_affinity: over all pairs of distinct members, symmetrised; pairs on which the models agree have 1.
    grid: i64[g], the members with the strongest affinity to each other, to be looked at; g <= grid_size.
    """

    members: np.ndarray
    mean_affinity: float
    grid: np.ndarray


def find(affinity: np.ndarray, *, num_clusters: int, grid_size: int, strong: float, seed: int) -> tuple[Cluster, ...]:
    """Spectral clustering with a null cluster, as in Kondapaneni et al. 2025: the strongest cluster first.

    Of num_clusters + 1 clusters the one of least mean affinity is the null cluster and is dropped. So is, other than in
    the paper, any whose average member has less affinity above the neutral 1 to its fellows, in all, than one pair of
    affinity `strong`: where the models agree the partition is arbitrary, and shall not be shown.

    Args:
        affinity: f32[n,n], symmetric, above 0, 1 on the diagonal.
        num_clusters: at most so many are returned; less than n - 1.
        grid_size: images in a grid, at least 2.
        strong: the affinity from which on a pair by itself is worth showing, above 1.
        seed: of the clustering.
    """
    if affinity.max() < strong:
        return ()
    assigned = spectral_labels(affinity, num_clusters + 1, seed)
    sums = affinity @ np.eye(num_clusters + 1, dtype=np.float32)[assigned]
    to_fellows = sums[np.arange(len(assigned)), assigned] - affinity.diagonal()
    found = []
    for label in range(num_clusters + 1):
        members = np.flatnonzero(assigned == label)
        if not len(members):
            continue
        mean = float(to_fellows[members].mean(dtype=float)) / max(len(members) - 1, 1)
        grid = _grid(affinity, members, members[np.argmax(to_fellows[members])], grid_size)
        found.append(Cluster(members, mean, grid))
    found.sort(key=lambda cluster: -cluster.mean_affinity)
    return tuple(cluster for cluster in found[:-1] if _differs(cluster, strong))


def spectral_labels(affinity: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """What scikit-learn's `SpectralClustering(affinity="precomputed")` computes, i32[n], without copies of f32[n,n].

    That turns the affinities into float64, copies them for the Laplacian and factorises it: at n = 10,000 three times
    0.8 GB, and n^3 operations. The same eigenvectors are the largest of the normalised affinity, which products find.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # scikit-learn brings it along.

    # Self-loops do not count, there as here.
    own = affinity.diagonal()
    scale = 1 / np.sqrt(affinity.sum(axis=1) - own)

    def normalized(vector):
        scaled = scale * vector.ravel()
        return scale * (affinity @ scaled - own * scaled)

    operator = LinearOperator(affinity.shape, matvec=normalized, dtype=affinity.dtype)
    start = np.random.default_rng(seed).uniform(-1, 1, len(affinity)).astype(affinity.dtype)
    _, vectors = eigsh(operator, num_clusters, which="LA", v0=start, tol=1e-5)
    # A step takes microseconds: threads that wait for each other would take a hundred times as long on busy cores.
    with threadpool_limits(1, user_api="openmp"):
        return KMeans(num_clusters, n_init=10, random_state=seed).fit_predict(vectors * scale[:, None])


def _differs(cluster: Cluster, strong: float) -> bool:
    fellows = len(cluster.members) - 1
    return fellows + 1 >= _FEWEST_MEMBERS and (cluster.mean_affinity - 1) * fellows >= strong - 1


def _grid(affinity: np.ndarray, members: np.ndarray, first: int, size: int) -> np.ndarray:
    """From the best connected member on, always the one nearest to all that are chosen already."""
    chosen, to_chosen = [first], np.zeros(len(members), np.float32)
    for _ in range(min(size, len(members)) - 1):
        to_chosen += affinity[chosen[-1]][members]
        to_chosen[members == chosen[-1]] = -np.inf
        chosen.append(members[np.argmax(to_chosen)])
    return np.array(chosen)
