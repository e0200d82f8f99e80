"""Spectral clustering of examples by their affinity, and the choice of a few examples that represent a cluster."""

from typing import NamedTuple

import numpy as np

# A pair by itself is not a group.
_FEWEST_MEMBERS = 3


class Cluster(NamedTuple):
    """Examples that one model groups and the other does not.

    members: i64[m], indices of the examples in ascending order.
    mean_affinity: the mean over all pairs of distinct members; pairs on which the models agree have 1.
    grid: i64[g], the members with the strongest affinity to each other, which pictures show; g <= grid_size.
    """

    members: np.ndarray
    mean_affinity: float
    grid: np.ndarray


def find(affinity: np.ndarray, *, num_clusters: int, grid_size: int, strong: float, seed: int) -> tuple[Cluster, ...]:
    """Finds clusters by spectral clustering with a null cluster, as in Kondapaneni et al. 2025.

    The examples are divided into num_clusters + 1 clusters. The one of lowest mean affinity is the null cluster and is
    dropped. Unlike in the paper, weak clusters are dropped, too, because the partition is arbitrary where the models
    agree: those whose average member has, summed over the other members, less affinity above the neutral 1 than a
    single pair of affinity `strong` has.

    Args:
        affinity: f32[n,n], symmetric, above 0, 1 on the diagonal.
        num_clusters: the largest number of clusters to return; less than n - 1.
        grid_size: the number of images in a grid, at least 2.
        strong: the affinity, above 1, of a pair that is worth showing by itself.
        seed: of the clustering.

    Returns:
        The clusters, in descending order of mean affinity.
    """
    if affinity.max() < strong:
        return ()
    assigned = spectral_labels(affinity, num_clusters + 1, seed)
    sums = affinity @ np.eye(num_clusters + 1, dtype=np.float32)[assigned]
    to_members = sums[np.arange(len(assigned)), assigned] - affinity.diagonal()
    found = []
    for label in range(num_clusters + 1):
        members = np.flatnonzero(assigned == label)
        if not len(members):
            continue
        mean = float(to_members[members].mean(dtype=float)) / max(len(members) - 1, 1)
        grid = _grid(affinity, members, members[np.argmax(to_members[members])], grid_size)
        found.append(Cluster(members, mean, grid))
    found.sort(key=lambda cluster: -cluster.mean_affinity)
    return tuple(cluster for cluster in found[:-1] if _is_strong(cluster, strong))


def spectral_labels(affinity: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """Returns the labels i32[n] of scikit-learn's `SpectralClustering(affinity="precomputed")`, in less memory.

    scikit-learn converts the affinities to float64, copies them for the Laplacian and factorises it, which at
    n = 10,000 takes three times 0.8 GB, and n^3 operations. Here its eigenvectors are found as those of the largest
    eigenvalues of the normalised affinity, by matrix-vector products.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # A dependency of scikit-learn.

    # As in scikit-learn, self-loops do not count.
    self_affinity = affinity.diagonal()
    scale = 1 / np.sqrt(affinity.sum(axis=1) - self_affinity)

    def normalized(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        return scale * (affinity @ scaled - self_affinity * scaled)

    # LinearOperator.__new__ makes a subclass with these arguments, which the annotations of scipy do not know.
    operator = LinearOperator(affinity.shape, matvec=normalized, dtype=affinity.dtype)  # pyrefly: ignore
    start = np.random.default_rng(seed).uniform(-1, 1, len(affinity)).astype(affinity.dtype)
    _, vectors = eigsh(operator, num_clusters, which="LA", v0=start, tol=1e-5)
    # A step takes microseconds. On busy cores, threads that wait for each other would take a hundred times as long.
    with threadpool_limits(1, user_api="openmp"):
        return KMeans(num_clusters, n_init=10, random_state=seed).fit_predict(vectors * scale[:, None])


def _is_strong(cluster: Cluster, strong: float) -> bool:
    """Returns True for a cluster whose average member has at least the affinity of a pair of affinity `strong`."""
    others = len(cluster.members) - 1
    return others + 1 >= _FEWEST_MEMBERS and (cluster.mean_affinity - 1) * others >= strong - 1


def _grid(affinity: np.ndarray, members: np.ndarray, first: int, size: int) -> np.ndarray:
    """Chooses `size` members, starting with `first`: each next one has the largest affinity to those chosen before."""
    chosen, to_chosen = [first], np.zeros(len(members), np.float32)
    for _ in range(min(size, len(members)) - 1):
        to_chosen += affinity[chosen[-1]][members]
        to_chosen[members == chosen[-1]] = -np.inf
        chosen.append(members[np.argmax(to_chosen)])
    return np.array(chosen)
