"""Mining, ranking and scoring of the embeddings of the training set, split over the devices."""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from rdd_jax import rdx
from rdd_jax.core import devices
from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers
from rdd_jax.core.types import Array, Refresh, State
from rdd_jax.steps.train_state import TrainState

KINDS = ("once", "every", "adaptive")
MOST_PROBES = 4096  # The time to compare two sets of pools grows with the third power of this.


@dataclass(frozen=True)
class MiningOptions:
    """The epochs before which the training set is mined: the section `mining` of a configuration.

    kind: "once" mines before epoch `start_epoch` alone; "every" mines again every so many `epochs`; "adaptive" mines
        again when the student's groups have drifted by `threshold` since the last mining (`rdx.drift`).
    start_epoch: the first epoch, from 0, before which the training set is mined.
    epochs: the period of "every", at least 1.
    threshold: the drift at which "adaptive" mines, in (0, 1].
    probe: the number of training images by which drift is measured.
    ranks_gigabytes: the memory, in 10**9 bytes on every device, that the teacher's ranks may take. They are computed
        once and kept if they fit (2 bytes a pair of images: 0.05 GB for 5,000 images, 5 GB for 50,000), and else
        computed in every mining.

    Raises:
        ValueError: for a value out of its range.
    """

    kind: str = "every"
    start_epoch: int = 1
    epochs: int = 5
    threshold: float = 0.5
    probe: int = 1024
    ranks_gigabytes: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, "mining", {"epochs": 10**6})
        if self.kind not in KINDS:
            raise ValueError(unknown_name_message("mining.kind", self.kind, KINDS))
        if self.start_epoch < 0 or self.epochs < 1:
            raise ValueError(
                "mining.start_epoch must not be negative and mining.epochs at least 1; got "
                f"{self.start_epoch} and {self.epochs} (--config.mining.kind=once mines but once)"
            )
        if not 0 < self.threshold <= 1:
            raise ValueError(f"mining.threshold is a share in (0, 1]; got {self.threshold}")
        if not 2 <= self.probe <= MOST_PROBES:
            raise ValueError(f"mining.probe must be in [2, {MOST_PROBES}]; got {self.probe}")
        if self.ranks_gigabytes < 0:
            raise ValueError(f"mining.ranks_gigabytes must not be negative; got {self.ranks_gigabytes}")


class Rank(Protocol):
    """The ranking of all neighbours of every example."""

    def __call__(self, embeddings: Array, /) -> rdx.RankedEmbeddings:
        """Returns embeddings f32[n,d] with the ranks of all neighbours."""


class Score(Protocol):
    """The scoring of the training set by difficulty."""

    def __call__(self, student_embeddings: Array, teacher_embeddings: Array | rdx.RankedEmbeddings, /) -> Array:
        """Returns each example's position f32[n] in the order from the easiest to the hardest.

        Args:
            student_embeddings: f32[n,ds].
            teacher_embeddings: f32[n,dt], or ranked.
        """


class Mine(Protocol):
    """The mining of the training set by a distiller."""

    def __call__(
        self, state: TrainState, student_embeddings: Array, teacher_embeddings: Array | rdx.RankedEmbeddings, /
    ) -> TrainState:
        """Returns the state with the mined table. Arguments as of `Score`."""


def make_rank() -> Rank:
    """Makes the ranking, whose rows are split over the devices."""
    return devices.data_parallel(
        lambda embeddings: rdx.rank_embeddings(embeddings, axis_name=devices.AXIS), in_axes=(None,)
    )


def make_score() -> Score:
    """Makes the scoring, whose rows are split over the devices."""

    def score(student_embeddings: Array, teacher_embeddings: Array | rdx.RankedEmbeddings) -> Array:
        order = rdx.difficulty_order(student_embeddings, teacher_embeddings, axis_name=devices.AXIS)
        return jnp.zeros(len(order)).at[order].set(jnp.arange(len(order), dtype=jnp.float32))

    return devices.data_parallel(score, in_axes=(None, None))


def make_mine(refresh: Refresh) -> Mine:
    """Makes the mining by the `refresh` of a distiller, whose rows are split over the devices."""

    def mine_rows(
        distiller_state: State,
        seed: Array,
        step: Array,
        student_embeddings: Array,
        teacher_embeddings: Array | rdx.RankedEmbeddings,
    ) -> State:
        rng = jax.random.fold_in(jax.random.key(seed), step)
        return refresh(distiller_state, student_embeddings, teacher_embeddings, rng, axis_name=devices.AXIS)

    mine_on_devices = devices.data_parallel(mine_rows, in_axes=(None,) * 5)

    def mine(
        state: TrainState, student_embeddings: Array, teacher_embeddings: Array | rdx.RankedEmbeddings, /
    ) -> TrainState:
        mined = mine_on_devices(state.distiller_state, state.seed, state.step, student_embeddings, teacher_embeddings)
        return state._replace(distiller_state=mined)

    return mine
