"""The binary success rate of Kondapaneni et al. 2025: how often the images of a grid are closer in one model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_REPETITIONS = 200


class SuccessRate(NamedTuple):
    """Counts of the ordered pairs of different images within grids.

    pairs: all pairs.
    nearer: pairs whose neighbourhood rank is strictly smaller in the model that groups them than in the other.
    tied: pairs whose rank is the same in both models.
    """

    pairs: int
    nearer: int
    tied: int

    @property
    def rate(self) -> float | None:
        """nearer / pairs, in [0, 1]; None where there is no pair."""
        return self.nearer / self.pairs if self.pairs else None

    @property
    def tied_share(self) -> float | None:
        """tied / pairs, in [0, 1]; None where there is no pair."""
        return self.tied / self.pairs if self.pairs else None


class Chance(NamedTuple):
    """The success rate of random grids.

    mean: over many draws, in [0, 1].
    deviation: the standard deviation over the draws.
    tied_share: the mean share of tied pairs, in [0, 1].
    """

    mean: float
    deviation: float
    tied_share: float


def success_rate(grouping_ranks: np.ndarray, other_ranks: np.ndarray, grids: Sequence[np.ndarray]) -> SuccessRate:
    """Counts the pairs of all grids.

    Args:
        grouping_ranks: i[n,n], the neighbourhood ranks in the model that groups the images of the grids.
        other_ranks: i[n,n], those in the other model.
        grids: i64[g] each, indices of images.
    """
    pairs = nearer = tied = 0
    for grid in grids:
        grouping, other = (ranks[np.ix_(grid, grid)] for ranks in (grouping_ranks, other_ranks))
        pairs += len(grid) * (len(grid) - 1)
        nearer += int((grouping < other).sum())
        tied += int((grouping == other).sum()) - len(grid)  # Without the pairs of an image and itself.
    return SuccessRate(pairs, nearer, tied)


def chance(grouping_ranks: np.ndarray, other_ranks: np.ndarray, sizes: Sequence[int], seed: int) -> Chance:
    """Computes the success rate of random grids without a common image.

    Args:
        grouping_ranks: i[n,n], as of `success_rate`.
        other_ranks: i[n,n].
        sizes: of the grids, at least one above 1.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    drawn = []
    for _ in range(_REPETITIONS):
        images = rng.choice(len(grouping_ranks), ends[-1], replace=False)
        drawn.append(success_rate(grouping_ranks, other_ranks, np.split(images, ends[:-1])))
    rates = [one.nearer / one.pairs for one in drawn]
    return Chance(float(np.mean(rates)), float(np.std(rates)), float(np.mean([one.tied / one.pairs for one in drawn])))
