"""What the trainer's loop costs beside the compiled step, and what an epoch has besides its steps.

The loop does an epoch by the same calls as the trainer, in the same order, on the real data set; the teacher's weights
are random. What the trainer does between the epochs is timed apart.
"""

import collections
import importlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
import safetensors.numpy
from jax.sharding import NamedSharding, PartitionSpec

from rdd_jax import models, parallel, train_state
from rdd_jax.checkpoint import Checkpoints
from rdd_jax.collectives import row_keys
from rdd_jax.data import augment, datasets
from rdd_jax.experiment import Experiment, build
from rdd_jax.metrics import LAG, Progress, RunLog
from rdd_jax.models.state_dict import to_state_dict
from rdd_jax.networks import make_model, normalizer
from rdd_jax.train_state import TrainState


def measure(methods: list[str], *, preset: str, batch_size: int, rounds: int) -> list[dict[str, Any]]:
    """A row of `loop` for each method."""
    return [loop(method, preset=preset, batch_size=batch_size, rounds=rounds) for method in methods]


def loop(method: str, *, preset: str, batch_size: int, rounds: int) -> dict[str, Any]:
    """Times epochs of bare calls and of the trainer, in turns, and then the rest of an epoch.

    Returns:
        {"method", "preset", "batch_size", "bare", "loop", "dispatch": seconds a step; medians of the rounds, and of
        all calls for "dispatch", which is the host's time until a call returns while the devices are idle,
        "overhead": percent by which the loop is slower than the bare calls of its round; the median,
        "steps_per_epoch", "parts": {what: seconds}}.

    Raises:
        UserError: where the data set is not prepared.
    """
    config = importlib.import_module(f"configs.{method}").get_config(preset)
    config.batch_size = batch_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if config.teacher.name:
            config.teacher.checkpoint = str(_random_teacher(config, folder))
        experiment = build(config, folder)
        calls = _Calls(experiment.train_call)
        experiment = experiment._replace(train_call=calls)
        total = (1 + rounds) * experiment.sampler.steps(0) * config.batch_size
        with Progress(f"{method} {preset}", total_images=total, done_images=0) as progress:
            state = parallel.replicate(jax.jit(experiment.init)(config.seed))
            state, _ = _epoch(config, experiment, state, 0, progress)  # compiles
            bare, looped = [], []
            for epoch in range(1, 1 + rounds):
                state, seconds = calls.again(state, experiment.sampler.steps(0))
                bare.append(seconds)
                state, seconds = _epoch(config, experiment, state, epoch, progress)
                looped.append(seconds)
        state, dispatch = calls.dispatches(state, experiment.sampler.steps(0))
        parts = _parts(config, experiment, state, folder)
    return {
        "method": method,
        "preset": preset,
        "batch_size": batch_size,
        "bare": statistics.median(bare),
        "loop": statistics.median(looped),
        "dispatch": dispatch,
        "overhead": statistics.median(100 * (b / a - 1) for a, b in zip(bare, looped, strict=True)),
        "steps_per_epoch": experiment.sampler.steps(0),
        "parts": parts,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the loop beside the bare calls, and beneath it the parts in milliseconds and in shares of an epoch."""
    lines = ["| step | bare, ms | in the loop, ms | overhead | dispatch, ms |", "| --- " * 5 + "|"]
    parts = ["| method | part | ms | of an epoch's steps |", "| --- " * 4 + "|"]
    for row in rows:
        bare, looped, dispatch = (f"{1e3 * row[key]:.2f}" for key in ("bare", "loop", "dispatch"))
        name = f"{row['method']} step, {row['preset']}, batch {row['batch_size']}"
        lines.append(f"| {name} | {bare} | {looped} | {row['overhead']:.1f}% | {dispatch} |")
        epoch = row["bare"] * row["steps_per_epoch"]
        for part, seconds in row["parts"].items():
            parts.append(f"| {row['method']} | {part} | {1e3 * seconds:.2f} | {seconds / epoch:.1%} |")
    return "\n".join([*lines, "", *parts])


class _Calls:
    """The trainer's compiled call, which remembers what it was last called with, to do the same without the trainer."""

    def __init__(self, call: Callable[..., Any]):
        self._call = call
        self._fixed: tuple = ()
        self._steps = 0

    def __call__(self, state: TrainState, *arguments: Any) -> Any:
        if not self._fixed:
            *constants, rows, steps = arguments
            split = NamedSharding(parallel.replicated_sharding().mesh, PartitionSpec(parallel.AXIS))
            self._fixed = (*constants, jax.device_put(rows, split), parallel.replicate(steps))
            self._steps = int(steps)
        return self._call(state, *arguments)

    def again(self, state: TrainState, steps: int) -> tuple[TrainState, float]:
        """About so many steps in a row: the state, and seconds a step."""
        calls = -(-steps // self._steps)
        jax.block_until_ready(state)
        started, sent = time.perf_counter(), collections.deque()
        for _ in range(calls):
            state, running = self._call(state, *self._fixed)
            # The host runs ahead no further than under the trainer: fake devices cannot stand more.
            sent.append(running)
            if len(sent) > LAG:
                jax.block_until_ready(sent.popleft())
        jax.block_until_ready(state)
        return state, (time.perf_counter() - started) / (calls * self._steps)

    def dispatches(self, state: TrainState, steps: int) -> tuple[TrainState, float]:
        """As `again`, but waiting after each call: the state, and the median of the host's seconds a step."""
        times = []
        for _ in range(-(-steps // self._steps)):
            started = time.perf_counter()
            state, _ = self._call(state, *self._fixed)
            times.append((time.perf_counter() - started) / self._steps)
            jax.block_until_ready(state)
        return state, statistics.median(times)


def _epoch(
    config: ml_collections.ConfigDict, experiment: Experiment, state: TrainState, epoch: int, progress: Progress
) -> tuple[TrainState, float]:
    """The steps of an epoch (from 0) as the trainer does them: the state, and seconds a step."""
    steps = experiment.sampler.steps(0)
    state = train_state.start_epoch(state)
    batches = experiment.sampler.batches(epoch)
    teaching, _ = experiment.lessons(epoch * steps, batches)
    started = time.perf_counter()
    calls = [batches[step : step + experiment.steps_per_call] for step in range(0, steps, experiment.steps_per_call)]
    for rows, shown in zip(calls, experiment.shown(epoch * steps, calls), strict=True):
        state, running = experiment.update(state, teaching, shown, rows)
        progress.add(f"{epoch + 1}", len(rows) * config.batch_size, running)
    progress.drain()
    return state, (time.perf_counter() - started) / steps


def _random_teacher(config: ml_collections.ConfigDict, folder: Path) -> Path:
    """A file of weights for the teacher that the run asks for."""
    info = datasets.describe(config.dataset)
    model = make_model(config.teacher.name, info, config.dtype)
    variables = jax.jit(lambda: models.init(model, jax.random.key(1), info.image_shape))()
    path = folder / "teacher.safetensors"
    safetensors.numpy.save_file(to_state_dict(variables), path)
    return path


def _parts(
    config: ml_collections.ConfigDict, experiment: Experiment, state: TrainState, folder: Path
) -> dict[str, float]:
    """Seconds of what a run does besides its steps, each after a first time that may compile."""
    evaluate = experiment.evaluate(experiment.student)
    work = {
        "gather, augment and normalize one batch, on one device": _one_input(config, experiment),
        "load the data set": partial(datasets.load, config.dataset),
        "order of one epoch": partial(experiment.sampler.batches, 1),
        "one evaluation": lambda: evaluate(state.student, *experiment.test),
    }
    if experiment.refresh:
        embed_student, embed_teacher = experiment.embed(experiment.student), experiment.embed(experiment.teacher.model)
        embeddings = embed_student(state.student, experiment.train.images)
        theirs = embed_teacher(experiment.teacher.variables, experiment.train.images)
        work["embed the training images, student"] = lambda: embed_student(state.student, experiment.train.images)
        work["one mining"] = lambda: experiment.refresh(state, embeddings, theirs)
    steps = itertools.count(1)
    with Checkpoints(folder) as checkpoints, RunLog(folder, 0) as log:
        work["one line of the record"] = lambda: log.scalars(next(steps), 1, "train", {"loss": 0.0, "accuracy": 0.0})
        work["one checkpoint, until the run goes on"] = lambda: checkpoints.save(next(steps), state, None)
        return {name: _seconds(do) for name, do in work.items()}


def _one_input(config: ml_collections.ConfigDict, experiment: Experiment) -> Callable[[], jax.Array]:
    """One batch of views, made as a step on one device makes it."""
    views = augment.Views(config.augment.pad, config.augment.flip, normalizer(datasets.load(config.dataset)))
    images = jax.device_put(np.asarray(experiment.train.images), jax.local_devices()[0])
    indices = experiment.sampler.batches(0)[0]

    @jax.jit
    def show(images, indices):
        return views.show_random(images[indices], row_keys(jax.random.key(0), len(indices), None))

    return lambda: show(images, indices)


def _seconds(do: Callable[[], Any], rounds: int = 5) -> float:
    times = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        jax.block_until_ready(do())
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
