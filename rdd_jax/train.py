"""A whole run: teacher, student, evaluation, record, checkpoints, report."""

import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import numpy as np
from clu import parameter_overview

from rdd_jax import checks, compilation, files, methods, models, parallel, report, runs, train_state
from rdd_jax.checkpoint import Checkpoints
from rdd_jax.compilation import CompileClock
from rdd_jax.data import datasets
from rdd_jax.data.sampling import epoch_batches
from rdd_jax.experiment import Experiment, build, load_network, measure
from rdd_jax.metrics import Progress, RunLog
from rdd_jax.refresh import is_due
from rdd_jax.train_state import TrainState

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def train(config: ml_collections.ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains the run to its end, from wherever an earlier try left it, and its teacher first where there is none.

    Returns:
        What summary.json holds.

    Raises:
        UserError: for a run that could not work, before anything is compiled or written; and for damaged files.
    """
    shared = workdir.absolute().parent
    compilation.keep(shared / files.COMPILATIONS)
    checks.check(config, workdir)
    if runs.is_finished(workdir):
        if not (workdir / files.REPORT).exists():  # the earlier try was stopped just before its report
            report.write(workdir)
        return runs.read_summary(workdir)
    if config.teacher.name and not config.teacher.checkpoint:
        _provide_teacher(config)
    experiment = build(config, shared)
    shapes = jax.eval_shape(experiment.init, config.seed)
    with files.locked(workdir), Checkpoints(workdir) as checkpoints, CompileClock() as clock:
        runs.write_config(config, workdir)
        state = checkpoints.restore_latest(shapes)
        if state is None:
            print(parameter_overview.get_parameter_overview(shapes.student["params"], include_stats=False))
            state = parallel.replicate(jax.jit(experiment.init)(config.seed))
        with RunLog(workdir, int(state.step)) as log:
            _Run(config, experiment, checkpoints, log, clock).train(state, title=workdir.name)
            summary = _summarize(config, experiment, log)
    files.write_json(workdir / files.SUMMARY, summary)
    report.write(workdir)
    return summary


def evaluate(workdir: Path) -> dict[str, float]:
    """{"loss": nats, "accuracy": percent} of the latest student in `workdir`, on the test images of its data set.

    Raises:
        UserError: where there is no run, or its checkpoint or the data cannot be read.
    """
    config = runs.read_config(workdir)
    return measure(load_network(workdir, config.dtype), datasets.load(config.dataset))


def _provide_teacher(config: ml_collections.ConfigDict) -> None:
    workdir = runs.teacher_place(config)
    if not runs.is_finished(workdir):
        print(f"There is no teacher yet: training {config.teacher.name} in {workdir}")
        train(runs.teacher_config(config), workdir)


class _Run:
    """The epochs of one run."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        experiment: Experiment,
        checkpoints: Checkpoints,
        log: RunLog,
        clock: CompileClock,
    ):
        self._config = config
        self._experiment = experiment
        self._checkpoints = checkpoints
        self._log = log
        self._clock = clock
        self._compiled = 0.0  # Seconds of compilation that stand in the log already.
        self._checkpoint_steps = max(1, round(config.checkpoint_every_epochs * experiment.steps_per_epoch))
        self._evaluate = experiment.evaluate(experiment.student)
        self._embed_student = experiment.embed(experiment.student)
        self._teacher_embeddings = None
        self._started = clock.started - log.seconds

    def train(self, state: TrainState, title: str) -> None:
        """Does the epochs that are left, under a progress bar of that title."""
        config, steps_per_epoch = self._config, self._experiment.steps_per_epoch
        step = int(state.step)
        total = config.epochs * steps_per_epoch
        with Progress(title, total_images=total * config.batch_size, done_images=step * config.batch_size) as progress:
            progress.say("compiling")
            for epoch in range(step // steps_per_epoch, config.epochs):
                state = self._epoch(state, epoch, max(step, epoch * steps_per_epoch), progress)

    def _epoch(self, state: TrainState, epoch: int, step: int, progress: Progress) -> TrainState:
        """Does what is left of an epoch (from 0) after `step` updates, and writes it down."""
        config, steps_per_epoch = self._config, self._experiment.steps_per_epoch
        begin, end = epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch
        extra = {}
        if step == begin:
            state = train_state.start_epoch(state)
            state, extra = self._refresh(state, epoch, step, progress)
        batches = epoch_batches(len(self._experiment.train.labels), config.batch_size, config.seed, epoch)
        teaching, views = self._experiment.lessons(begin, batches)
        started, first = time.perf_counter(), step
        while step < end:
            stop = min(end, step + self._experiment.steps_per_call, self._next_checkpoint(step))
            state, running = self._call(state, teaching, batches[step - begin : stop - begin])
            progress.add(f"{epoch + 1}/{config.epochs}", (stop - step) * config.batch_size, running)
            step = stop
            if step == self._next_checkpoint(step - 1) and step < end:
                self._checkpoints.save(step, state, None)
        progress.drain()
        extra |= views
        extra["images_per_second"] = (end - first) * config.batch_size / (time.perf_counter() - started)
        accuracy = self._record(state, epoch + 1, end, extra)
        if end == self._next_checkpoint(end - 1) or epoch + 1 == config.epochs:
            self._checkpoints.save(end, state, accuracy)
        return state

    def _next_checkpoint(self, step: int) -> int:
        return (step // self._checkpoint_steps + 1) * self._checkpoint_steps

    def _call(self, state: TrainState, teaching: Any, batches: np.ndarray) -> tuple[TrainState, dict[str, jax.Array]]:
        """Sends up to `steps_per_call` updates to the devices: batches i32[steps,batch_size] of positions."""
        experiment = self._experiment
        indices = np.zeros((experiment.steps_per_call, batches.shape[1]), np.int32)
        indices[: len(batches)] = batches
        return experiment.train_call(
            state, teaching, *experiment.train, parallel.split_rows(indices), np.int32(len(batches))
        )

    def _refresh(
        self, state: TrainState, epoch: int, step: int, progress: Progress
    ) -> tuple[TrainState, dict[str, float]]:
        """Mines the training set where the distiller does so and it is due."""
        experiment, config = self._experiment, self._config
        due = is_due(epoch, start_epoch=config.refresh_start_epoch, refresh_epochs=config.refresh_epochs)
        if not experiment.refresh or not due:
            return state, {}
        started = time.perf_counter()
        progress.say("embedding the training images")
        if self._teacher_embeddings is None:
            self._teacher_embeddings = experiment.embed_teacher()
        embeddings = jax.block_until_ready(self._embed_student(state.student, experiment.train.images))
        embedded = time.perf_counter()
        progress.say("mining the training images")
        state = jax.block_until_ready(experiment.refresh(state, embeddings, self._teacher_embeddings))
        seconds = {"embed_seconds": embedded - started, "mine_seconds": time.perf_counter() - embedded}
        for name, values in experiment.histograms(state.distiller).items():
            self._log.histogram(step, epoch, name, np.asarray(values))
        return state, seconds

    def _record(self, state: TrainState, epoch: int, step: int, extra: dict[str, float]) -> float | None:
        """Writes the lines of a finished epoch (from 1); returns the test accuracy where it was measured."""
        metrics = {name: float(average.compute()) for name, average in jax.device_get(state.metrics).items()}
        rate = float(self._experiment.schedule(step - 1))
        self._write(step, epoch, "train", {**metrics, "learning_rate": rate, **extra})
        if epoch % self._config.eval_every_epochs and epoch != self._config.epochs:
            return None
        metrics = self._evaluate(state.student, *self._experiment.test)
        self._write(step, epoch, "test", metrics)
        return metrics["accuracy"]

    def _write(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes a line, with what was compiled since the one before and the seconds of the run so far."""
        compiled, self._compiled = self._clock.seconds - self._compiled, self._clock.seconds
        seconds = time.perf_counter() - self._started
        self._log.scalars(step, epoch, split, {**values, "compile_seconds": compiled, "seconds": seconds})


def _summarize(config: ml_collections.ConfigDict, experiment: Experiment, log: RunLog) -> dict[str, Any]:
    last = log.lines[-1]
    student = {"name": config.student.name, "accuracy": last["accuracy"], "best_accuracy": log.best_accuracy()}
    teacher = None
    if experiment.teacher:
        model, variables = experiment.teacher
        accuracy = experiment.evaluate(model)(variables, *experiment.test)["accuracy"]
        teacher = {"name": config.teacher.name, "accuracy": accuracy, **_cost(model, config.dataset)}
    return {
        "method": methods.label(config.distill),
        "dataset": config.dataset,
        "seed": config.seed,
        "epochs": config.epochs,
        "steps": last["step"],
        "wall_seconds": last["seconds"],
        "compile_seconds": sum(line["compile_seconds"] for line in log.lines),
        "teacher": teacher,
        "student": {**student, **_cost(experiment.student, config.dataset)},
        "devices": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
    }


def _cost(model: nn.Module, dataset: str) -> dict[str, int]:
    image_shape = datasets.describe(dataset).image_shape
    shapes = models.variable_shapes(model, image_shape)
    return {
        "parameters": models.count_parameters(shapes),
        "multiply_adds": models.count_multiply_adds(model, shapes, image_shape),
    }
