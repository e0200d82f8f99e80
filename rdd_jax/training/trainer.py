"""The epochs of one run: updates, evaluation, log lines, checkpoints, and what is done when a state is not finite."""

import bisect
import math
import time
from collections.abc import Collection, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.core.errors import DataReadError, TrainingDiverged
from rdd_jax.core.processes import warn
from rdd_jax.core.progress import Progress
from rdd_jax.data import pipeline
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.steps import train_state
from rdd_jax.steps.optimizer import at_step
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.checkpoint_schedule import CheckpointSteps
from rdd_jax.training.interruptible import InterruptibleRunner, StopRequested
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.mining import Mining
from rdd_jax.training.nonfinite import NonFinite
from rdd_jax.training.preemption import StopSignal
from rdd_jax.training.setup import Experiment

_is_finite = jax.jit(train_state.is_finite)


class Trainer:
    """Trains one run, from any of its steps to its end.

    Args:
        config: of the run.
        experiment: of the run.
        checkpoints: of the run.
        log: of the run.
        clock: has measured compilation since the run was started.
        stop_signal: the requests to stop.
        progress: shows the run.

    Attributes:
        saved_step: the step of the last checkpoint, 0 where there is none.
        work: runs what takes long between updates.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        experiment: Experiment,
        checkpoints: Checkpoints,
        log: MetricLog,
        clock: CompilationTimer,
        stop_signal: StopSignal,
        progress: Progress,
    ):
        self._config = config
        self._experiment = experiment
        self._checkpoints = checkpoints
        self._log = log
        self._clock = clock
        self._stop_signal = stop_signal
        self._progress = progress
        self.work = InterruptibleRunner(stop_signal, progress.set_status)
        self.saved_step = 0
        self._compiled = 0.0  # Seconds of compilation that stand in the log already.
        self._starts = experiment.epoch_starts
        self._checkpoint_steps = CheckpointSteps(config.checkpoint_every_epochs, experiment.epoch_starts)
        self._evaluate = experiment.evaluate(experiment.student)
        self._mining = Mining(config, experiment, log, self.work)
        self._rolled_back = False  # Since the last checkpoint.
        self._started = clock.started - log.seconds

    def train(self, state: TrainState) -> None:
        """Does all updates that come after `state`.

        Raises:
            StopRequested: where the run was asked to stop; what a resumed run needs is saved.
            UserError: for what cannot be read or written, and for a state that is not finite where `on_nan` ends the
                run.
        """
        shapes = jax.eval_shape(lambda: state)
        step = self.saved_step = int(state.step)
        self._progress.set_status("compiling")
        self._complete_log(state, step)
        while step < self._starts[-1]:
            try:
                state = self._epoch(state, step)
            except NonFinite as error:
                self._progress.discard_pending()
                state = self._roll_back(shapes, error.step)
            step = int(state.step)

    def _epoch(self, state: TrainState, step: int) -> TrainState:
        """Does the updates from `step` to the end of their epoch, and the epoch's evaluation, lines and checkpoints."""
        epoch = bisect.bisect_right(self._starts, step) - 1
        if not _is_finite(state):
            raise NonFinite(step)
        first, end = step, self._starts[epoch + 1]
        # A resumed run mines before an epoch again, but not what a rollback has lost in the middle of one.
        before = None if self._mining.is_lost else state
        try:
            state, batches, teaching, extra = self._prepare(state, epoch, step)
            started = time.perf_counter()
            calls = [batches[start:stop] for start, stop in self._calls(epoch, step)]
            images = pipeline.Clocked(self._experiment.shown(step, calls))
            for call, shown in zip(calls, images, strict=True):
                state = self._update(state, teaching, shown, call, epoch)
                step += len(call)
                self._check_loss(step)
                if step < end and (self._stop_signal.stop_requested() or step in self._checkpoint_steps):
                    self._save(step, state, None)
            self._progress.flush()
            self._check_loss(step)
            if pipeline.is_streamed(self._experiment.train.images):
                extra["data_seconds"] = images.seconds
            extra["images_per_second"] = (end - first) * self._config.batch_size / (time.perf_counter() - started)
            self._record_training(state, epoch + 1, end, extra)
            accuracy = self._record_accuracies(state, epoch + 1, end)
        except (StopRequested, DataReadError) as error:
            if step == first:
                self._save_before_leaving(error, step, before)
            elif _is_finite(state):
                self._save_before_leaving(error, step, state)
            raise
        if self._stop_signal.stop_requested() or end in self._checkpoint_steps or end == self._starts[-1]:
            self._save(end, state, accuracy)
        return state

    def _prepare(
        self, state: TrainState, epoch: int, step: int
    ) -> tuple[TrainState, np.ndarray, Any, dict[str, float]]:
        """Mines where that is due, and returns the state, the epoch's batches, its teacher outputs and costs to log."""
        begin, costs = self._starts[epoch], {}
        if step == begin:
            state = train_state.start_epoch(state)
        if step == begin or self._mining.is_lost:
            state, costs = self._mining.prepare(state, epoch, step, begins=step == begin)
        scores, labels = jax.device_get((state.scores, self._experiment.train.labels))
        batches = self._experiment.sampler.batches(epoch, scores, labels)
        computed = self.work.batches("teacher outputs")
        teaching, views = self._experiment.lessons(begin, batches, computed)
        return state, batches, teaching, costs | views

    def _calls(self, epoch: int, step: int) -> Iterator[tuple[int, int]]:
        """Yields the first batch and the end of each call to the devices; no call goes beyond a checkpoint."""
        begin, end = self._starts[epoch], self._starts[epoch + 1]
        while step < end:
            stop = min(end, step + self._experiment.steps_per_call, self._checkpoint_steps.after(step))
            yield step - begin, stop - begin
            step = stop

    def _update(self, state: TrainState, teaching: Any, shown: Any, batches: np.ndarray, epoch: int) -> TrainState:
        state, running = self._experiment.update(state, teaching, shown, batches)
        self._progress.add(f"{epoch + 1}/{self._config.epochs}", len(batches) * self._config.batch_size, running)
        return state

    def _check_loss(self, step: int) -> None:
        if not math.isfinite(self._progress.loss):
            raise NonFinite(step)

    def _save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Saves the state, unless it is not finite; then ends the run there where that was asked for."""
        if not _is_finite(state):
            raise NonFinite(step)
        self._write_checkpoint(step, state, accuracy)
        self._rolled_back = False
        if self._stop_signal.stop_requested() and step < self._starts[-1]:
            raise StopRequested

    def _save_before_leaving(self, error: Exception, step: int, state: TrainState | None) -> None:
        """Saves a finite state for a resumed run to go on from, unless the last checkpoint is as good.

        It computes nothing on the devices, which an abandoned mining may keep busy.
        """
        # Data that cannot be read are met by one process alone, which cannot save for all.
        alone = isinstance(error, DataReadError) and jax.process_count() > 1
        if state is not None and step > self.saved_step and not alone:
            self._write_checkpoint(step, state, None)

    def _write_checkpoint(self, step: int, state: TrainState, accuracy: float | None) -> None:
        self._checkpoints.save(step, state, accuracy)
        self.saved_step = step

    def _roll_back(self, shapes: TrainState, step: int) -> TrainState:
        """Returns the last good state as that of the non-finite update `step`, if `on_nan` asks for that.

        The updates in between are not done again: with the same batches they would end at the same numbers.
        """
        good = None
        if self._config.on_nan == "rollback" and not self._rolled_back and step < self._starts[-1]:
            good = self._checkpoints.restore(shapes)
        if good is None:
            again = "again " if self._rolled_back else ""
            kept = self._checkpoints.steps()
            last = f"the last good checkpoint is of update {kept[-1]:,}" if kept else "there is no good checkpoint yet"
            ways = ", or --config.on_nan to skip or rollback" if self._config.on_nan == "stop" else ""
            raise TrainingDiverged(
                f"loss or weights are {again}not finite by update {step:,}, and {last}: set a lower "
                f"--config.learning_rate{ways}, and another --workdir"
            )
        self._rolled_back = True
        self._mining.roll_back(int(good.step))
        warn(f"not finite by update {step:,}: going on from there with the weights of update {int(good.step):,}")
        # Two arrays, as both are donated to the next call.
        here, same = (devices.replicate(np.int32(step)) for _ in range(2))
        return train_state.start_epoch(good)._replace(step=here, optimizer=at_step(good.optimizer, same))

    def _complete_log(self, state: TrainState, step: int) -> None:
        """Writes those lines of the epoch that `state` ends which are missing.

        The run may have been stopped during its evaluation, or metrics.jsonl may have been cut or lost.
        """
        # Behind a rollback to the end of an epoch there is nothing to write of that epoch.
        if step not in self._starts[1:] or not state.metrics["loss"].count:
            return
        epoch = self._starts.index(step)
        there = {line["split"] for line in self._log.lines if line["step"] == step}
        if "train" not in there:
            self._record_training(state, epoch, step, {})
        self._record_accuracies(state, epoch, step, there)

    def _record_training(self, state: TrainState, epoch: int, step: int, extra: dict[str, float]) -> None:
        averages = jax.device_get(state.metrics)
        metrics = {name: float(average.compute()) for name, average in averages.items() if average.count}
        if "loss" not in metrics:  # Every single update was skipped.
            raise NonFinite(step)
        rate = float(self._experiment.schedule(step - 1))
        self._write(step, epoch, "train", {**metrics, "learning_rate": rate, **extra})

    def _record_accuracies(self, state: TrainState, epoch: int, step: int, there: Collection[str] = ()) -> float | None:
        """Evaluates after that epoch (from 1), if that is due, and writes the lines that are not there.

        Returns:
            The accuracy that ranks the checkpoint, where it is measured: on the validation images, or on the test
            images where none are held out.
        """
        if epoch % self._config.eval_every_epochs and epoch != self._config.epochs:
            return None
        ranking = None
        for split, data in (("validation", self._experiment.validation), ("test", self._experiment.test)):
            if data and split not in there:
                metrics = self._evaluate(state.student, *data, self.work.batches("evaluating"))
                self._write(step, epoch, split, metrics)
                ranking = metrics["accuracy"] if ranking is None else ranking
        return ranking

    def _write(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes a line, with what was compiled since the one before and the seconds of the run so far."""
        compiled, self._compiled = self._clock.seconds - self._compiled, self._clock.seconds
        seconds = time.perf_counter() - self._started
        self._log.write_scalars(step, epoch, split, {**values, "compile_seconds": compiled, "seconds": seconds})
