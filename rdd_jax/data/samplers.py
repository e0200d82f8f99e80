"""Which examples an epoch visits, and in which order: a function of the seed, the epoch and the examples' scores.

There is no sampler state besides the scores, so a resumed run goes on as the straight one, and every host computes the
same order.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers

KINDS = ("full", "random", "rdx", "curriculum", "rho", "even", "odd")
RANKED = ("rdx", "curriculum")  # These go by how far the student is from the teacher.
_PARTS = {"even": slice(0, None, 2), "odd": slice(1, None, 2)}


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns a permutation of range(num_examples), i32[num_examples], keyed by (seed, epoch); neither is negative."""
    generator = np.random.default_rng([seed, epoch])
    return generator.permutation(num_examples).astype(np.int32)


def epoch_batches(num_examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the epoch's batches of positions, i32[num_examples // batch_size, batch_size].

    The examples left over sit this epoch out; another epoch's order leaves out others.

    Raises:
        ValueError: unless 1 <= batch_size <= num_examples.
    """
    if not 1 <= batch_size <= num_examples:
        raise ValueError(f"batch_size must be between 1 and the {num_examples} examples of the set, not {batch_size}")
    return _batches(epoch_order(num_examples, seed, epoch), batch_size)


@dataclass(frozen=True)
class SamplerOptions:
    """The choice of the images that an epoch visits: the section `sampler` of a configuration.

    kind: "full": all images, in random order.
        "random": a random `fraction`, drawn anew every `scoring_epochs`.
        "rdx": the `fraction` of lowest difficulty, easiest first (Irakiza & Mugisha 2026).
        "curriculum": the easiest `start_fraction` at first, growing linearly to all over `pace_epochs`, in random order
        (Irakiza & Mugisha 2026).
        "rho": all, in batches `candidates` times as large, of which each step trains on the examples of largest
        reducible loss (Mindermann et al. 2022).
        "even", "odd": every second image; for the holdout models of "rho".
    fraction: the share of the images that "random" and "rdx" visit, in (0, 1].
    start_fraction: the share of the images that "curriculum" visits in the first epoch, in (0, 1].
    pace_epochs: the epochs after which "curriculum" visits all images, at least 1.
    scoring_epochs: the epochs between two scorings of all images, or two draws of "random"; 0: before the first epoch
        alone.
    candidates: the batches' worth of images that "rho" chooses each batch from, at least 2.
    shuffle: visits the images of "rdx" in random order, a new one each epoch.
    balance: chooses the easiest images of each class, in the classes' shares of the whole set, instead of the easiest
        of all; for "rdx" and "curriculum".

    Raises:
        ValueError: for a value out of its range.
    """

    kind: str = "full"
    fraction: float = 0.15
    start_fraction: float = 0.3
    pace_epochs: int = 100
    scoring_epochs: int = 0
    candidates: int = 10
    shuffle: bool = False
    balance: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, "sampler")
        if self.kind not in KINDS:
            raise ValueError(unknown_name_message("sampler.kind", self.kind, KINDS))
        for key in ("fraction", "start_fraction"):
            if not 0 < getattr(self, key) <= 1:
                raise ValueError(f"sampler.{key} is a share in (0, 1]; got {getattr(self, key)}")
        if self.pace_epochs < 1 or self.candidates < 2 or self.scoring_epochs < 0:
            raise ValueError(
                "sampler.pace_epochs must be at least 1, candidates at least 2 and scoring_epochs at least 0; got "
                f"{self.pace_epochs}, {self.candidates} and {self.scoring_epochs}"
            )


class Sampler(NamedTuple):
    """A way to visit `num_examples` examples in batches of `batch_size`, keyed by `seed`.

    kind: "full": all of them, in random order. "random": a random `fraction`, drawn anew every `scoring_epochs` (0:
        once). "rdx": the `fraction` of lowest score. "curriculum": the easiest `start_fraction` at first, growing
        linearly to all over `pace_epochs`, in random order (Irakiza & Mugisha 2026 for the last two). "rho": all, in
        batches `candidates` times as large, of which the step keeps the most worthwhile (Mindermann et al. 2022).
        "even", "odd": every other one, for networks that shall judge the rest.
    shuffle: "rdx" in random order, a new one each epoch, instead of from the easiest to the hardest.
    balance: "rdx" and "curriculum" choose the easiest of each class, in the classes' shares of the whole set, instead
        of the easiest of all, among which some classes are rare.
    """

    kind: str
    num_examples: int
    batch_size: int
    seed: int = 0
    fraction: float = 0.15
    start_fraction: float = 0.3
    pace_epochs: int = 100
    scoring_epochs: int = 0
    candidates: int = 10
    shuffle: bool = False
    balance: bool = False

    def steps(self, epoch: int) -> int:
        """Batches of that epoch (from 0)."""
        return self._visited(epoch) // self._rows

    def scores_are_due(self, epoch: int) -> bool:
        """Whether every example's score has to be found anew before that epoch."""
        used = self.kind == "rdx" or (self.kind == "curriculum" and self._visited(epoch) < self.num_examples)
        return used and (epoch % self.scoring_epochs == 0 if self.scoring_epochs else epoch == 0)

    def batches(self, epoch: int, scores: np.ndarray | None = None, labels: np.ndarray | None = None) -> np.ndarray:
        """The epoch's batches of positions, i32[steps, batch_size], or `candidates` times as wide.

        Args:
            epoch: from 0.
            scores: f32[num_examples], low is easy; for the kinds that rank.
            labels: i32[num_examples]; for `balance`.
        """
        visited = self._visited(epoch)
        if self.kind == "random":
            period = epoch // self.scoring_epochs if self.scoring_epochs else 0
            chosen = np.random.default_rng([self.seed, period, visited]).permutation(self.num_examples)[:visited]
        elif self.kind in RANKED:
            chosen = self._easiest(scores, labels, visited)
        else:
            chosen = np.arange(self.num_examples)[_PARTS.get(self.kind, slice(None))]
        if self.kind != "rdx" or self.shuffle:
            chosen = chosen[epoch_order(visited, self.seed, epoch)]
        return _batches(chosen.astype(np.int32), self._rows)

    def _easiest(self, scores: np.ndarray, labels: np.ndarray | None, count: int) -> np.ndarray:
        """The `count` positions of lowest score, of all or of each class, in ascending order of the score."""
        # Of equal scores the lower position is the easier.
        order = np.argsort(scores, kind="stable")
        if self.balance:
            quantile = np.empty(len(order))
            for label in np.unique(labels):
                own = order[labels[order] == label]
                quantile[own] = (np.arange(len(own)) + 0.5) / len(own)
            chosen = np.argsort(quantile[order], kind="stable")[:count]
            return order[np.sort(chosen)]
        return order[:count]

    @property
    def _rows(self) -> int:
        return self.batch_size * (self.candidates if self.kind == "rho" else 1)

    def _visited(self, epoch: int) -> int:
        share = 1.0
        if self.kind in ("random", "rdx"):
            share = self.fraction
        elif self.kind in _PARTS:
            return len(range(self.num_examples)[_PARTS[self.kind]])
        elif self.kind == "curriculum":
            share = min(1.0, self.start_fraction + (1 - self.start_fraction) * epoch / self.pace_epochs)
        return round(share * self.num_examples)


def _batches(order: np.ndarray, batch_size: int) -> np.ndarray:
    steps = len(order) // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)


def options() -> dict[str, Any]:
    """The options of a `Sampler` and their defaults."""
    return {"kind": "full", **{name: Sampler._field_defaults[name] for name in Sampler._fields[4:]}}
