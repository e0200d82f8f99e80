"""Samplers: the examples that an epoch visits and their order, from the seed, the epoch and the examples' scores.

A sampler has no state besides the scores. A resumed run therefore visits the examples of an uninterrupted one, and all
processes compute the same order.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers

SAMPLER_KINDS = ("full", "random", "rdx", "curriculum", "rho", "even", "odd")
RANKED_KINDS = ("rdx", "curriculum")  # These rank examples by the difference between student and teacher.
_HALVES = {"even": slice(0, None, 2), "odd": slice(1, None, 2)}


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns a permutation of range(num_examples), i32[num_examples], keyed by (seed, epoch); neither is negative."""
    generator = np.random.default_rng([seed, epoch])
    return generator.permutation(num_examples).astype(np.int32)


def epoch_batches(num_examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the epoch's batches of positions, i32[num_examples // batch_size, batch_size].

    Examples that do not fill a batch are left out; the order of another epoch leaves out others.

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
        if self.kind not in SAMPLER_KINDS:
            raise ValueError(unknown_name_message("sampler.kind", self.kind, SAMPLER_KINDS))
        for key in ("fraction", "start_fraction"):
            if not 0 < getattr(self, key) <= 1:
                raise ValueError(f"sampler.{key} is a share in (0, 1]; got {getattr(self, key)}")
        if self.pace_epochs < 1 or self.candidates < 2 or self.scoring_epochs < 0:
            raise ValueError(
                "sampler.pace_epochs must be at least 1, candidates at least 2 and scoring_epochs at least 0; got "
                f"{self.pace_epochs}, {self.candidates} and {self.scoring_epochs}"
            )


class Sampler(NamedTuple):
    """The sampler of a run.

    options: the choice of the examples.
    num_examples: the number of training examples.
    batch_size: over all devices.
    seed: keys all random orders and draws.
    """

    options: SamplerOptions
    num_examples: int
    batch_size: int
    seed: int = 0

    def steps(self, epoch: int) -> int:
        """Returns the number of batches of an epoch (from 0)."""
        return self._num_visited(epoch) // self._batch_rows

    def scores_are_due(self, epoch: int) -> bool:
        """Returns True where all examples must be scored before an epoch (from 0)."""
        kind, period = self.options.kind, self.options.scoring_epochs
        used = kind == "rdx" or (kind == "curriculum" and self._num_visited(epoch) < self.num_examples)
        return used and (epoch % period == 0 if period else epoch == 0)

    def batches(self, epoch: int, scores: np.ndarray | None = None, labels: np.ndarray | None = None) -> np.ndarray:
        """Returns the batches of an epoch as positions in the training set.

        Args:
            epoch: from 0.
            scores: f32[num_examples], low is easy; for the kinds that rank.
            labels: i32[num_examples]; for `balance`.

        Returns:
            i32[steps,batch_size]; of "rho" i32[steps,candidates * batch_size].
        """
        options, visited = self.options, self._num_visited(epoch)
        if options.kind == "random":
            period = epoch // options.scoring_epochs if options.scoring_epochs else 0
            chosen = np.random.default_rng([self.seed, period, visited]).permutation(self.num_examples)[:visited]
        elif options.kind in RANKED_KINDS:
            if scores is None or (options.balance and labels is None):
                raise ValueError(f"{options.kind} needs the scores of all examples, and with `balance` their labels")
            chosen = self._easiest(scores, labels, visited)
        else:
            chosen = np.arange(self.num_examples)[_HALVES.get(options.kind, slice(None))]
        if options.kind != "rdx" or options.shuffle:
            chosen = chosen[epoch_order(visited, self.seed, epoch)]
        return _batches(chosen.astype(np.int32), self._batch_rows)

    def _easiest(self, scores: np.ndarray | None, labels: np.ndarray | None, count: int) -> np.ndarray:
        """Returns the `count` positions of lowest score, overall or within each class, in ascending order of score."""
        if scores is None or (self.options.balance and labels is None):
            raise ValueError(f"sampler.kind={self.options.kind} needs scores f32[n], and labels i32[n] to balance")
        # Of equal scores the lower position counts as the easier.
        order = np.argsort(scores, kind="stable")
        if labels is None or not self.options.balance:
            return order[:count]
        quantile = np.empty(len(order))
        for label in np.unique(labels):
            members = order[labels[order] == label]
            quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
        chosen = np.argsort(quantile[order], kind="stable")[:count]
        return order[np.sort(chosen)]

    @property
    def _batch_rows(self) -> int:
        """The rows of a batch, or of its candidates."""
        return self.batch_size * (self.options.candidates if self.options.kind == "rho" else 1)

    def _num_visited(self, epoch: int) -> int:
        """Returns the number of examples that an epoch visits, with those that do not fill a batch."""
        options, share = self.options, 1.0
        if options.kind in _HALVES:
            return len(range(self.num_examples)[_HALVES[options.kind]])
        if options.kind in ("random", "rdx"):
            share = options.fraction
        elif options.kind == "curriculum":
            start = options.start_fraction
            share = min(1.0, start + (1 - start) * epoch / options.pace_epochs)
        return round(share * self.num_examples)


def _batches(order: np.ndarray, batch_size: int) -> np.ndarray:
    steps = len(order) // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)
