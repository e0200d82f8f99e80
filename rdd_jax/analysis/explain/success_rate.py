"""The binary success rate of Kondapaneni et al. 2025: do the grids show what they claim to show?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_REPETITIONS = 200


class SuccessRate(NamedTuple):
    """Of the ordered pairs of different images within a grid: how many are nearer in the model said to group them.

    pairs: all of them.
    nearer: those whose neighbourhood rank is strictly smaller in that model than in the other.
    tied: those whose rank is the same in both.
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
    """The rate of random grids, in [0, 1]: its mean and standard deviation over draws, and the share of ties."""

    mean: float
    deviation: float
    tied_share: float


def success_rate(near_ranks: np.ndarray, far_ranks: np.ndarray, grids: Sequence[np.ndarray]) -> SuccessRate:
    """Counts over grids, i64[g] each; ranks [n,n] in the model said to group them, and in the other."""
    pairs = nearer = tied = 0
    for grid in grids:
        near, far = (ranks[np.ix_(grid, grid)] for ranks in (near_ranks, far_ranks))
        pairs += len(grid) * (len(grid) - 1)
        nearer += int((near < far).sum())
        tied += int((near == far).sum()) - len(grid)  # An image is its own nearest neighbour in both.
    return SuccessRate(pairs, nearer, tied)


def chance(near_ranks: np.ndarray, far_ranks: np.ndarray, sizes: Sequence[int], seed: int) -> Chance:
    """The rate of grids of those sizes, at least one above 1, drawn at random without a common image."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    drawn = []
    for _ in range(_REPETITIONS):
        images = rng.choice(len(near_ranks), ends[-1], replace=False)
        drawn.append(success_rate(near_ranks, far_ranks, np.split(images, ends[:-1])))
    rates = [one.rate for one in drawn]
    return Chance(float(np.mean(rates)), float(np.std(rates)), float(np.mean([one.tied_share for one in drawn])))
