"""A whole run: teacher, student, evaluation, record, checkpoints, report."""

import bisect
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from clu import parameter_overview

from rdd_jax import checks, compilation, feeds, files, hosts, parallel, report, runs, train_state
from rdd_jax.checkpoint import Checkpoints
from rdd_jax.compilation import CompileClock
from rdd_jax.errors import Diverged, Unreadable
from rdd_jax.experiment import Experiment, build
from rdd_jax.hosts import say, tell
from rdd_jax.metrics import Progress, RunLog
from rdd_jax.optimizers import at_step
from rdd_jax.refresh import is_due
from rdd_jax.stops import Poisoned, Stopped, StopRequests
from rdd_jax.summary import summarize
from rdd_jax.train_state import TrainState
from rdd_jax.versions import versions

_is_finite = jax.jit(train_state.is_finite)


def train(
    config: ml_collections.ConfigDict, workdir: Path, progress: Callable[..., Progress] = Progress
) -> dict[str, Any]:
    """Trains the run to its end, from wherever an earlier try left it, and its teacher first where there is none.

    Args:
        config: of the run.
        workdir: where it lives.
        progress: makes what shows it, as `metrics.Progress`.

    Returns:
        What summary.json holds.

    Raises:
        UserError: for a run that could not work, before anything is compiled or written; for files that are damaged or
            cannot be written; and for a loss that is not finite, where `on_nan` has no other way.
        Stopped: on SIGTERM or SIGINT, when all is saved.
    """
    versions()  # Looks up the commit now: the source may be edited during the run.
    shared = workdir.absolute().parent
    compilation.keep(shared / files.COMPILATIONS)
    checks.check(config, workdir)
    if runs.is_finished(workdir):
        if hosts.is_first() and runs.read_config(workdir).data.folder != config.data.folder:
            runs.write_config(config, workdir)  # The folder has been moved.
        _complete(workdir)
        return runs.read_summary(workdir)
    for needed, place in runs.prerequisites(config):
        if runs.is_finished(place):
            _complete(place)
        else:
            say(f"There is no {place.name} yet: training it in {place}")
            train(needed, place, progress)
    experiment = build(config, shared)
    shapes = jax.eval_shape(experiment.init, config.seed)
    first = hosts.is_first()
    with (
        files.locked(workdir) if first else contextlib.nullcontext(),
        Checkpoints(workdir, keep_all=config.keep_all_checkpoints) as checkpoints,
        CompileClock() as clock,
        StopRequests() as requests,
    ):
        if first:
            runs.write_config(config, workdir)
        state = checkpoints.restore(shapes)
        if state is None:
            say(parameter_overview.get_parameter_overview(shapes.student["params"], include_stats=False))
            state = parallel.replicate(jax.jit(experiment.init)(config.seed))
        with RunLog(workdir, int(state.step)) as log:
            run = _Run(config, experiment, checkpoints, log, clock, requests)
            with progress(workdir.name, **run.images(state)) as bar:
                run.train(state, bar)
            summary = summarize(config, experiment, log)
    if first:
        files.write_json(workdir / files.SUMMARY, summary)
        report.write(workdir)
    hosts.wait(f"{workdir} is finished")
    return summary


def _complete(workdir: Path) -> None:
    """Writes the report of a finished run that was stopped just before it."""
    if hosts.is_first() and not (workdir / files.REPORT).exists():
        report.write(workdir)


class _Run:
    """The epochs of one run."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        experiment: Experiment,
        checkpoints: Checkpoints,
        log: RunLog,
        clock: CompileClock,
        requests: StopRequests,
    ):
        self._config = config
        self._experiment = experiment
        self._checkpoints = checkpoints
        self._log = log
        self._clock = clock
        self._requests = requests
        self._compiled = 0.0  # Seconds of compilation that stand in the log already.
        self._starts = experiment.epoch_starts
        self._checkpoint_steps = _marks(config.checkpoint_every_epochs, experiment.epoch_starts)
        self._evaluate = experiment.evaluate(experiment.student)
        self._embed_student = experiment.embed(experiment.student)
        self._teacher_embeddings = None
        self._rolled_back = False  # Since the last checkpoint.
        self._started = clock.started - log.seconds

    def images(self, state: TrainState) -> dict[str, int]:
        """How many images the whole run sees, and has seen."""
        rows = self._config.batch_size
        return {"total_images": self._starts[-1] * rows, "done_images": int(state.step) * rows}

    def train(self, state: TrainState, progress: Progress) -> None:
        """Does the epochs that are left."""
        step, shapes = int(state.step), jax.eval_shape(lambda: state)
        progress.say("compiling")
        while step < self._starts[-1]:
            try:
                state = self._epoch(state, bisect.bisect_right(self._starts, step) - 1, step, progress)
            except Poisoned as poison:
                progress.forget()
                state = self._roll_back(shapes, poison.step)
            step = int(state.step)

    def _epoch(self, state: TrainState, epoch: int, step: int, progress: Progress) -> TrainState:
        """Does what is left of an epoch (from 0) after `step` updates, and writes it down."""
        config, experiment = self._config, self._experiment
        begin, end = self._starts[epoch], self._starts[epoch + 1]
        extra, entered = {}, state
        if step == begin:
            state = train_state.start_epoch(state)
            state, extra = self._look_around(state, epoch, step, progress)
        scores, labels = jax.device_get((state.scores, experiment.train.labels))
        batches = experiment.sampler.batches(epoch, scores, labels)
        teaching, views = experiment.lessons(begin, batches)
        calls = [batches[first - begin : stop - begin] for first, stop in self._calls(step, end)]
        started, first = time.perf_counter(), step
        images = feeds.Clocked(experiment.shown(step, calls))
        try:
            for call, shown in zip(calls, images, strict=True):
                state, running = experiment.update(state, teaching, shown, call)
                progress.add(f"{epoch + 1}/{config.epochs}", len(call) * config.batch_size, running)
                step += len(call)
                self._check_loss(progress, step)
                if step < end and (self._requests.agreed() or step == self._next_checkpoint(step - 1)):
                    self._save(step, state, None)
        except Unreadable:
            # At an epoch's start that of before the look, which the resumed run takes again. Of several processes this
            # one alone is here, and cannot save for all.
            left = entered if step == begin else state
            if jax.process_count() == 1 and _is_finite(left):
                self._checkpoints.save(step, left, None)
            raise
        progress.drain()
        self._check_loss(progress, step)
        extra |= views
        if feeds.is_streamed(experiment.train.images):
            extra["data_seconds"] = images.seconds
        extra["images_per_second"] = (end - first) * config.batch_size / (time.perf_counter() - started)
        accuracy = self._record(state, epoch + 1, end, extra)
        if self._requests.agreed() or end == self._next_checkpoint(end - 1) or epoch + 1 == config.epochs:
            self._save(end, state, accuracy)
        return state

    def _calls(self, step: int, end: int) -> Iterator[tuple[int, int]]:
        """The first update and the end of each call to the devices, up to `end`; none goes beyond a checkpoint."""
        while step < end:
            stop = min(end, step + self._experiment.steps_per_call, self._next_checkpoint(step))
            yield step, stop
            step = stop

    def _check_loss(self, progress: Progress, step: int) -> None:
        if not math.isfinite(progress.loss):
            raise Poisoned(step)

    def _save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Keeps the state, unless it is poisoned; and ends the run there where that was asked for."""
        if not _is_finite(state):
            raise Poisoned(step)
        self._checkpoints.save(step, state, accuracy)
        self._rolled_back = False
        if self._requests.agreed() and step < self._starts[-1]:
            done = f"stopped after {step:,} of {self._starts[-1]:,} updates, which are saved"
            raise Stopped(f"{self._requests.asked}: {done}; the same command goes on")

    def _roll_back(self, shapes: TrainState, step: int) -> TrainState:
        """What the run goes on with after the poisoned update `step`: the last good weights, if `on_nan` says so.

        The batches in between are passed over: seen again from the same weights, they would do the same again.
        """
        good = None
        if self._config.on_nan == "rollback" and not self._rolled_back and step < self._starts[-1]:
            good = self._checkpoints.restore(shapes)
        if good is None:
            again = "again " if self._rolled_back else ""
            kept = self._checkpoints.steps()
            last = f"the last good checkpoint is of update {kept[-1]:,}" if kept else "there is no good checkpoint yet"
            raise Diverged(
                f"loss or weights are {again}not finite by update {step:,}, and {last}: set a lower "
                "--config.learning_rate, or --config.on_nan to skip or rollback, and another --workdir"
            )
        self._rolled_back = True
        tell(f"not finite by update {step:,}: going on from there with the weights of update {int(good.step):,}")
        # Two arrays, as both are donated to the next call.
        here, same = (parallel.replicate(np.int32(step)) for _ in range(2))
        return train_state.start_epoch(good)._replace(step=here, optimizer=at_step(good.optimizer, same))

    def _next_checkpoint(self, step: int) -> int:
        place = bisect.bisect_right(self._checkpoint_steps, step)
        return self._checkpoint_steps[place] if place < len(self._checkpoint_steps) else self._starts[-1] + 1

    def _look_around(
        self, state: TrainState, epoch: int, step: int, progress: Progress
    ) -> tuple[TrainState, dict[str, float]]:
        """Before an epoch: looks at the whole training set where the distiller or the sampler want that by then."""
        experiment = self._experiment
        if experiment.irreducible_losses and epoch == 0:
            progress.say("judging the training images")
            state = state._replace(scores=experiment.irreducible_losses())
        started = time.perf_counter()
        state, mines = self._mining_is_due(state, epoch)
        seconds = {"drift_seconds": time.perf_counter() - started} if experiment.probe else {}
        scores = experiment.sampler.scores_are_due(epoch)
        if not mines and not scores:
            return state, seconds
        progress.say("embedding the training images")
        started = time.perf_counter()
        if self._teacher_embeddings is None:
            self._teacher_embeddings = experiment.embed_teacher()
        pair = self._embed_student(state.student, experiment.train.images), self._teacher_embeddings
        jax.block_until_ready(pair)
        seconds["embed_seconds"] = time.perf_counter() - started
        if scores:
            state = state._replace(scores=experiment.score(*pair))
        if mines:
            progress.say("mining the training images")
            started = time.perf_counter()
            state = jax.block_until_ready(experiment.refresh(state, *pair))
            seconds["mine_seconds"] = time.perf_counter() - started
            if experiment.probe:
                state = state._replace(probe=experiment.probe.embed(state.student))
            for name, values in experiment.histograms(state.distiller).items():
                self._log.histogram(step, epoch, name, np.asarray(values))
        return state, seconds

    def _mining_is_due(self, state: TrainState, epoch: int) -> tuple[TrainState, bool]:
        """Whether to mine; where drift decides that, it is put on record."""
        experiment, options = self._experiment, self._config.refresh
        if not experiment.refresh:
            return state, False
        if is_due(epoch, kind=options.kind, start_epoch=options.start_epoch, epochs=options.epochs):
            return state, True
        if not experiment.probe or epoch < options.start_epoch:
            return state, False
        drift = experiment.probe.drift(state.probe, experiment.probe.embed(state.student))
        return train_state.with_metrics(state, drift), bool(max(drift.values()) >= options.threshold)

    def _record(self, state: TrainState, epoch: int, step: int, extra: dict[str, float]) -> float | None:
        """Writes the lines of a finished epoch (from 1); returns the accuracy that ranks it, where measured.

        That is the accuracy on the validation images, or on the test images where none are held out.
        """
        averages = jax.device_get(state.metrics)
        metrics = {name: float(average.compute()) for name, average in averages.items() if average.count}
        if "loss" not in metrics:  # Every single update was left out.
            raise Poisoned(step)
        rate = float(self._experiment.schedule(step - 1))
        self._write(step, epoch, "train", {**metrics, "learning_rate": rate, **extra})
        if epoch % self._config.eval_every_epochs and epoch != self._config.epochs:
            return None
        ranking = None
        if self._experiment.validation:
            ranking = self._evaluate(state.student, *self._experiment.validation)
            self._write(step, epoch, "validation", ranking)
        metrics = self._evaluate(state.student, *self._experiment.test)
        self._write(step, epoch, "test", metrics)
        return (ranking or metrics)["accuracy"]

    def _write(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes a line, with what was compiled since the one before and the seconds of the run so far."""
        compiled, self._compiled = self._clock.seconds - self._compiled, self._clock.seconds
        seconds = time.perf_counter() - self._started
        self._log.scalars(step, epoch, split, {**values, "compile_seconds": compiled, "seconds": seconds})


def _marks(every_epochs: float, starts: list[int]) -> list[int]:
    """The steps at which so many epochs have passed, again and again; `starts` are the first steps of the epochs."""
    epochs = len(starts) - 1
    every = max(every_epochs, 1 / max(np.diff(starts)))
    passed = every * np.arange(1, int(epochs / every + 1e-9) + 1)
    return np.unique(np.maximum(1, np.round(np.interp(passed, range(epochs + 1), starts)))).astype(int).tolist()
