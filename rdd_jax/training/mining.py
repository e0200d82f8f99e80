"""Mining of the whole training set between updates: it is embedded, scored and mined when that is due."""

import time
from typing import Any

import jax
import ml_collections
import numpy as np

from rdd_jax.steps import train_state
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.interruptible import InterruptibleRunner
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.mining_schedule import is_due
from rdd_jax.training.setup import Experiment

_LOSSES, _SCORES, _TABLE = "losses", "scores", "table"  # What is found of the training set.


class Mining:
    """The minings of one run, and the scores that its sampler ranks by.

    Args:
        config: of the run.
        experiment: of the run.
        log: takes the histograms of every mining.
        work: runs what takes long.
    """

    def __init__(
        self, config: ml_collections.ConfigDict, experiment: Experiment, log: MetricLog, work: InterruptibleRunner
    ):
        self._options = config.refresh
        self._experiment = experiment
        self._log = log
        self._work = work
        self._embed_student = experiment.embed(experiment.student)
        self._teacher: Any = None  # Its embeddings, ranked where that fits.
        self._found_at: dict[str, int] = {}  # The last step before which each was found, in this process.
        self._lost: set[str] = set()

    @property
    def is_lost(self) -> bool:
        """True where a rollback has lost a table or scores that are to be found again before the next update."""
        return bool(self._lost)

    def roll_back(self, step: int) -> None:
        """Takes note that the run goes on with the state of an earlier `step`: what was found since then is lost."""
        self._lost |= {kind for kind, found_at in self._found_at.items() if found_at >= step}
        self._log.remove_histograms(step)

    def prepare(self, state: TrainState, epoch: int, step: int, *, begins: bool) -> tuple[TrainState, dict[str, float]]:
        """Finds what is due before an epoch, and what a rollback has lost.

        Args:
            state: after `step` updates.
            epoch: the epoch (from 0) of the next update.
            step: updates done.
            begins: whether the next update is the epoch's first; in its middle only what is lost is found again.

        Returns:
            The state with the new table and scores, and the seconds of each part for the log.

        Raises:
            StopRequested: where the run was asked to stop; `state` is as it was.
        """
        experiment = self._experiment
        if experiment.irreducible_losses and ((begins and epoch == 0) or _LOSSES in self._lost):
            judged = self._work.batches("judging the training images")
            state = state._replace(scores=experiment.irreducible_losses(judged))
            self._found_at[_LOSSES] = step
        state, mines, seconds = self._mining_is_due(state, epoch) if begins else (state, False, {})
        mines |= _TABLE in self._lost
        scores = (begins and experiment.sampler.scores_are_due(epoch)) or _SCORES in self._lost
        if mines or scores:
            started = time.perf_counter()
            pair = self._embed(state)
            seconds["embed_seconds"] = time.perf_counter() - started
            if scores:
                state = state._replace(scores=self._work.compute("scoring", experiment.score, *pair))
                self._found_at[_SCORES] = step
            if mines:
                started = time.perf_counter()
                state = self._mine(state, pair, epoch, step)
                seconds["mine_seconds"] = time.perf_counter() - started
        self._lost.clear()
        return state, seconds

    def _mining_is_due(self, state: TrainState, epoch: int) -> tuple[TrainState, bool, dict[str, float]]:
        """Decides whether to mine before an epoch; drift, where it decides that, is added to the state's metrics."""
        experiment, options = self._experiment, self._options
        if not experiment.refresh:
            return state, False, {}
        mines = is_due(epoch, kind=options.kind, start_epoch=options.start_epoch, epochs=options.epochs)
        if not experiment.probe:
            return state, mines, {}
        started = time.perf_counter()
        if not mines and epoch >= options.start_epoch:
            now = experiment.probe.embed(state.student, self._work.batches("measuring drift"))
            drift = experiment.probe.drift(state.probe, now)
            state = train_state.with_metrics(state, drift)
            mines = bool(max(drift.values()) >= options.threshold)
        return state, mines, {"drift_seconds": time.perf_counter() - started}

    def _embed(self, state: TrainState) -> tuple[jax.Array, Any]:
        """Embeds the training images by student and teacher, by the teacher once for the whole run."""
        experiment = self._experiment
        if self._teacher is None:
            embeddings = experiment.embed_teacher(self._work.batches("embedding by the teacher"))
            ranked = experiment.rank
            self._teacher = self._work.compute("ranking", ranked, embeddings) if ranked else embeddings
        by_student = self._work.batches("embedding by the student")
        return self._embed_student(state.student, experiment.train.images, by_student), self._teacher

    def _mine(self, state: TrainState, pair: tuple[jax.Array, Any], epoch: int, step: int) -> TrainState:
        """Mines from the embeddings of student and teacher, and logs the histograms of what was mined."""
        experiment = self._experiment
        state = self._work.compute("mining", experiment.refresh, state, *pair)
        if experiment.probe:
            state = state._replace(probe=experiment.probe.embed(state.student, self._work.batches("measuring drift")))
        for name, values in experiment.histograms(state.distiller).items():
            self._log.write_histogram(step, epoch, name, np.asarray(values))
        self._found_at[_TABLE] = step
        return state
