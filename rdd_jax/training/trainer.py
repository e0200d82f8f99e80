"""The training loop: epochs of updates, evaluation, log lines and checkpoints."""

import bisect
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.core.errors import DataReadError
from rdd_jax.core.progress import Progress
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.runs.config import RunConfig
from rdd_jax.steps import train_state
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.checkpoint_schedule import CheckpointSchedule
from rdd_jax.training.epoch_recorder import EpochRecorder
from rdd_jax.training.interruptible import InterruptibleRunner
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.miner import Miner
from rdd_jax.training.nonfinite import NonFiniteError, NonFiniteHandler, continue_at
from rdd_jax.training.pending_metrics import LAG, PendingMetrics
from rdd_jax.training.preemption import StopRequested, StopSignal
from rdd_jax.training.setup import Experiment
from rdd_jax.training.timed_iterator import TimedIterator

_is_finite = jax.jit(train_state.is_finite)


class _Epoch(NamedTuple):
    """The inputs of the updates of an epoch, or of its remainder after a resume.

    number: from 0.
    begin: the step at which the epoch begins.
    first: the step of the first update to be done.
    end: the step at which the epoch ends.
    indices: i32[steps,rows], the positions of the images of all the epoch's batches.
    teacher: the teacher's variables or outputs, as `TeacherFn` takes them.
    log_values: seconds, speeds and counts for the epoch's line in the log; more are added while it is trained.
    """

    number: int
    begin: int
    first: int
    end: int
    indices: np.ndarray
    teacher: Any
    log_values: dict[str, float]


class Trainer:
    """Trains a run, from any of its steps to its end.

    Args:
        config: of the run.
        experiment: the run's data and functions.
        checkpoints: of the run.
        log: of the run.
        clock: has measured compilation since the run was started.
        stop_signal: tells when the run is asked to stop.
        progress: shows the run.
        lag: the number of calls to the devices after which the loss of a call is read.

    Attributes:
        saved_step: the step of the last checkpoint, 0 where there is none.
    """

    def __init__(
        self,
        config: RunConfig,
        experiment: Experiment,
        checkpoints: Checkpoints,
        log: MetricLog,
        clock: CompilationTimer,
        stop_signal: StopSignal,
        progress: Progress,
        lag: int = LAG,
    ):
        self._config = config
        self._experiment = experiment
        self._checkpoints = checkpoints
        self._stop_signal = stop_signal
        self._progress = progress
        self._pending = PendingMetrics(progress, lag)
        self.saved_step = 0
        self._epoch_starts = experiment.epoch_starts
        self._last_step = experiment.epoch_starts[-1]
        self._checkpoint_schedule = CheckpointSchedule(config.checkpoint_every_epochs, experiment.epoch_starts)
        self._nonfinite = NonFiniteHandler(config.nonfinite, checkpoints, self._last_step)
        self._runner = InterruptibleRunner(stop_signal, progress.set_status)
        self._miner = Miner(experiment, log, self._runner)
        self._recorder = EpochRecorder(config, experiment, log, clock, self._runner)

    def train(self, state: TrainState) -> None:
        """Does all updates that come after `state`.

        Raises:
            StopRequested: where the run was asked to stop. All that a resumed run needs is saved.
            UserError: for files that cannot be read or written, and for a loss or state that is not finite where the
                policy is to end the run.
        """
        shapes = jax.eval_shape(lambda: state)
        step = self.saved_step = int(state.step)
        self._progress.set_status("compiling")
        self._recorder.record_missing(state, step)
        while step < self._last_step:
            try:
                state = self._train_epoch(state, step)
            except NonFiniteError as error:
                self._pending.discard()
                good = self._nonfinite.last_good_state(shapes, error.step)
                self._miner.roll_back(int(good.step))
                state = continue_at(good, error.step)
            step = int(state.step)

    def _train_epoch(self, state: TrainState, step: int) -> TrainState:
        """Trains from `step` to the end of its epoch: mines, updates, logs, evaluates and saves."""
        if not _is_finite(state):
            raise NonFiniteError(step)
        number = bisect.bisect_right(self._epoch_starts, step) - 1
        first = step
        # If interrupted before the first update, save the state from before mining: resuming at an epoch start mines
        # again. After a rollback to the middle of an epoch a resume would not, so save nothing.
        resumable = None if self._miner.must_repeat else state
        try:
            state, epoch = self._prepare(state, number, step)
            for step, resumable in self._updates(state, epoch):
                if step < epoch.end and self._save_is_due(step):
                    self._save(step, resumable, None)
            state = resumable
            self._recorder.record_training(state, number + 1, step, epoch.log_values)
            accuracy = self._recorder.record_evaluation(state, number + 1, step)
        except (StopRequested, DataReadError) as error:
            if step == first or _is_finite(resumable):
                self._save_before_leaving(error, step, resumable)
            raise
        if self._save_is_due(step) or step == self._last_step:
            self._save(step, state, accuracy)
        return state

    def _prepare(self, state: TrainState, number: int, step: int) -> tuple[TrainState, _Epoch]:
        """Mines where that is due, chooses the epoch's batches, and precomputes the teacher's outputs."""
        begin, end = self._epoch_starts[number], self._epoch_starts[number + 1]
        log_values: dict[str, float] = {}
        if step == begin:
            state = train_state.reset_metrics(state)
        if step == begin or self._miner.must_repeat:
            state, log_values = self._miner.prepare(state, number, step, starts_epoch=step == begin)
        scores, labels = jax.device_get((state.scores, self._experiment.train.labels))
        indices = self._experiment.sampler.batches(number, scores, labels)
        on_batch = self._runner.on_batch("teacher outputs")
        teacher, teacher_values = self._experiment.prepare_teacher(begin, indices, on_batch)
        return state, _Epoch(number, begin, step, end, indices, teacher, log_values | teacher_values)

    def _updates(self, state: TrainState, epoch: _Epoch) -> Iterator[tuple[int, TrainState]]:
        """Does an epoch's updates; adds their speed to its log values.

        Yields:
            (step, state) after each call to the devices, which does one update or several.

        Raises:
            NonFiniteError: for a loss that is not finite.
        """
        started, step = time.perf_counter(), epoch.first
        train, train_call = self._experiment.train, self._experiment.train_call
        calls = [epoch.indices[start - epoch.begin : stop - epoch.begin] for start, stop in self._calls(epoch)]
        batches_of_calls = TimedIterator(train.train_batches(calls, step, self._experiment.steps_per_call))
        title = f"{epoch.number + 1}/{self._config.epochs}"
        for call, batches in zip(calls, batches_of_calls, strict=True):
            state, running = train_call(state, batches, epoch.teacher, np.int32(len(call)))
            self._pending.add(title, len(call) * self._config.batch_size, running)
            step += len(call)
            self._check_loss(step)
            yield step, state
        self._pending.flush()
        self._check_loss(step)
        if train.is_streamed:
            epoch.log_values["data_seconds"] = batches_of_calls.seconds
        num_images = (epoch.end - epoch.first) * self._config.batch_size
        epoch.log_values["images_per_second"] = num_images / (time.perf_counter() - started)

    def _calls(self, epoch: _Epoch) -> Iterator[tuple[int, int]]:
        """Yields the first and the last step of each call to the devices; no call goes beyond a checkpoint."""
        start = epoch.first
        while start < epoch.end:
            longest = start + self._experiment.steps_per_call
            stop = int(min(epoch.end, longest, self._checkpoint_schedule.next_after(start)))
            yield start, stop
            start = stop

    def _check_loss(self, step: int) -> None:
        """Raises NonFiniteError(step) if the loss that was read last, `lag` calls before `step`, is not finite."""
        if not math.isfinite(self._pending.loss):
            raise NonFiniteError(step)

    def _save_is_due(self, step: int) -> bool:
        return self._stop_signal.stop_requested() or step in self._checkpoint_schedule

    def _save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Saves a finite state, ranked by its accuracy in percent where that was measured.

        Raises:
            NonFiniteError: for any other state.
            StopRequested: where the run was asked to stop before its end.
        """
        if not _is_finite(state):
            raise NonFiniteError(step)
        self._write_checkpoint(step, state, accuracy)
        self._nonfinite.note_checkpoint()
        if self._stop_signal.stop_requested() and step < self._last_step:
            raise StopRequested

    def _save_before_leaving(self, error: Exception, step: int, state: TrainState | None) -> None:
        """Saves a finite state to resume from, unless the last checkpoint is as good.

        It computes nothing on the devices, which abandoned mining may keep busy.
        """
        # All processes save together, but data that cannot be read end only the process that reads them.
        failed_in_one_of_several_processes = isinstance(error, DataReadError) and jax.process_count() > 1
        if state is not None and step > self.saved_step and not failed_in_one_of_several_processes:
            self._write_checkpoint(step, state, None)

    def _write_checkpoint(self, step: int, state: TrainState, accuracy: float | None) -> None:
        self._checkpoints.save(step, state, accuracy)
        self.saved_step = step
