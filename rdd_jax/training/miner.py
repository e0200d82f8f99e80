"""Mining between epochs: embeds the training set by student and teacher, mines contrast tables and scores images."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from rdd_jax import rdx
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.pipeline import PipelineDataset
from rdd_jax.steps import train_state
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.drift_probe import DriftProbe
from rdd_jax.training.interruptible import InterruptibleRunner
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.setup import Experiment

# The results of the whole training set that a run computes between epochs.
_LOSSES, _SCORES, _TABLE = "irreducible losses", "scores", "table"


class TeacherEmbeddings:
    """Computes the teacher's embeddings, those of the training set once a run.

    Args:
        experiment: the run's data and functions.
        runner: runs the computations.
    """

    def __init__(self, experiment: Experiment, runner: InterruptibleRunner):
        self._experiment = experiment
        self._runner = runner
        self._of_training_set: Array | rdx.RankedEmbeddings | None = None

    def of_training_set(self) -> Array | rdx.RankedEmbeddings:
        """Returns the embeddings f32[n,d] of the training images, with their ranks where those fit into memory."""
        if self._of_training_set is None:
            experiment, on_batch = self._experiment, self._runner.on_batch("embedding by the teacher")
            embeddings = self.embed(experiment.train, on_batch)
            rank = experiment.rank
            self._of_training_set = self._runner.run("ranking", rank, embeddings) if rank else embeddings
        return self._of_training_set

    def embed(self, images: PipelineDataset, on_batch: OnBatch | None = None) -> Array:
        """Returns the embeddings f32[n,d] of n images."""
        teacher = self._experiment.teacher
        assert teacher is not None  # The checks of the configuration refuse methods and samplers that need one.
        return self._experiment.make_embed(teacher.network)(teacher.variables, images, on_batch)


class Miner:
    """Mines the training set of a run, and computes the scores by which its sampler ranks images.

    Args:
        experiment: the run's data and functions.
        log: receives the histograms of every mining.
        runner: runs the computations.
    """

    def __init__(self, experiment: Experiment, log: MetricLog, runner: InterruptibleRunner):
        self._experiment = experiment
        self._log = log
        self._runner = runner
        self._schedule = experiment.mining_schedule
        self._embed_student = experiment.make_embed(experiment.student)
        self._teacher = TeacherEmbeddings(experiment, runner)
        self._probe: DriftProbe | None = None
        if self._schedule and self._schedule.num_probes:
            count = self._schedule.num_probes
            self._probe = DriftProbe(experiment.train, count, self._embed_student, self._teacher.embed)
        self._computed_at: dict[str, int] = {}  # The step at which this process last computed each result.
        self._lost: set[str] = set()

    @property
    def must_repeat(self) -> bool:
        """True where a rollback has discarded results that must be computed again before the next update."""
        return bool(self._lost)

    def roll_back(self, step: int) -> None:
        """Discards the results computed at or after `step`, as the run continues with the state of that step."""
        self._lost |= {result for result, computed_at in self._computed_at.items() if computed_at >= step}
        self._log.remove_histograms(step)

    def prepare(
        self, state: TrainState, epoch: int, step: int, *, starts_epoch: bool
    ) -> tuple[TrainState, dict[str, float]]:
        """Computes the results that are due before an epoch, and those that a rollback has discarded.

        Args:
            state: after `step` updates.
            epoch: the epoch (from 0) of the next update.
            step: the number of updates done.
            starts_epoch: whether the next update is the first of its epoch. In the middle of an epoch, only discarded
                results are computed again.

        Returns:
            The state with the new table and scores, and the seconds that each part took, for the log.

        Raises:
            StopRequested: where the run was asked to stop. `state` is unchanged.
        """
        results, seconds = set(self._lost), {}
        if starts_epoch:
            with _timed(seconds, "drift_seconds") if self._probe else nullcontext():
                drift = self._measure_drift(state, epoch)
            state = train_state.with_metrics(state, drift) if drift else state
            results |= self._due(epoch, drift)
        if _LOSSES in results:
            on_batch = self._runner.on_batch("computing irreducible losses")
            assert self._experiment.irreducible_losses is not None
            state = state._replace(scores=self._experiment.irreducible_losses(on_batch))
        if results & {_SCORES, _TABLE}:
            with _timed(seconds, "embed_seconds"):
                embeddings = self._embed(state)
            if _SCORES in results:
                scores = self._runner.run("scoring", self._experiment.score, *embeddings)
                state = state._replace(scores=scores)
            if _TABLE in results:
                with _timed(seconds, "mine_seconds"):
                    state = self._mine(state, embeddings, epoch, step)
        self._computed_at |= dict.fromkeys(results, step)
        self._lost.clear()
        return state, seconds

    def _measure_drift(self, state: TrainState, epoch: int) -> dict[str, Array] | None:
        """Returns the drift since the last mining, where that decides whether to mine before an epoch."""
        if not (self._probe and self._schedule and self._schedule.needs_drift(epoch)):
            return None
        assert state.probe is not None
        now = self._probe.embed(state.student, self._runner.on_batch("measuring drift"))
        return self._probe.measure(state.probe, now)

    def _due(self, epoch: int, drift: dict[str, Array] | None) -> set[str]:
        """Returns the results that are due before an epoch; `drift` as of `MiningSchedule.due`."""
        due = set()
        if self._experiment.irreducible_losses and epoch == 0:
            due.add(_LOSSES)
        if self._experiment.sampler.scores_are_due(epoch):
            due.add(_SCORES)
        if self._schedule and self._schedule.due(epoch, drift):
            due.add(_TABLE)
        return due

    def _embed(self, state: TrainState) -> tuple[Array, Array | rdx.RankedEmbeddings]:
        """Returns the embeddings of the training images by the student and by the teacher."""
        teacher = self._teacher.of_training_set()
        on_batch = self._runner.on_batch("embedding by the student")
        return self._embed_student(state.student, self._experiment.train, on_batch), teacher

    def _mine(
        self, state: TrainState, embeddings: tuple[Array, Array | rdx.RankedEmbeddings], epoch: int, step: int
    ) -> TrainState:
        """Returns the state with newly mined tables, and logs their histograms."""
        assert self._experiment.mine is not None
        state = self._runner.run("mining", self._experiment.mine, state, *embeddings)
        if self._probe:
            state = state._replace(probe=self._probe.embed(state.student, self._runner.on_batch("measuring drift")))
        for name, values in self._experiment.histograms(state.distiller_state).items():
            self._log.write_histogram(step, epoch, name, np.asarray(values))
        return state


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Stores the seconds that its body takes in `seconds[name]`."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
