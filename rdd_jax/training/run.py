"""A whole run: teacher, student, evaluation, record, checkpoints, report."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_collections

from rdd_jax import models
from rdd_jax.analysis import report
from rdd_jax.core import compilation, devices, io, processes
from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.core.errors import WorkdirLocked
from rdd_jax.core.processes import print_once, warn
from rdd_jax.core.progress import Progress
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.runs.versions import versions
from rdd_jax.training import locks, teachers, validation
from rdd_jax.training.interruptible import StopRequested
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.preemption import StopSignal, TrainingInterrupted
from rdd_jax.training.setup import Experiment, build
from rdd_jax.training.summary import summarize
from rdd_jax.training.trainer import Trainer


def train(
    config: ml_collections.ConfigDict, workdir: Path, progress: Callable[..., Progress] = Progress
) -> dict[str, Any]:
    """Trains the run to its end, from wherever an earlier try left it, and its teacher first where there is none.

    Args:
        config: of the run.
        workdir: where it lives.
        progress: makes what shows it, as `progress.Progress`.

    Returns:
        What summary.json holds.

    Raises:
        UserError: for a run that could not work, before anything is compiled or written; for files that are damaged or
            cannot be written; and for a loss that is not finite, where `on_nan` has no other way.
        TrainingInterrupted: on SIGTERM or SIGINT, when all is saved.
    """
    versions()  # Looks up the commit now: the source may be edited during the run.
    validation.check(config, workdir)
    compilation.enable_compilation_cache(naming.shared_folder(workdir).absolute() / layout.COMPILATIONS)
    if records.is_finished(workdir):
        if processes.is_main_process() and records.differences(records.read_config(workdir), config):
            records.write_config(config, workdir)  # The folder of the data or the teacher has been moved.
        summary = records.read_summary(workdir)
        _complete(workdir)
        return summary
    if processes.is_main_process():
        io.check_writable(workdir)
    for needed, place in naming.prerequisites(config, workdir):
        train_shared(needed, place, progress)
    validation.check_prerequisites(config, workdir)  # Another process may have trained them by another recipe.
    experiment = build(config, workdir)
    with locks.locked(workdir):
        if processes.broadcast_flag_from_main(
            records.is_finished(workdir)
        ):  # By another process, while this one read the data.
            return records.read_summary(workdir)
        return _train(config, workdir, experiment, progress)


def train_shared(
    config: ml_collections.ConfigDict, workdir: Path, progress: Callable[..., Progress] = Progress
) -> None:
    """Trains a run that others need, too; where another process is at it, waits for that one. Arguments as of `train`.

    Should the other process end before its run is finished, this one goes on with the run.

    Raises:
        UserError, TrainingInterrupted: as `train`.
        KeyboardInterrupt: on SIGINT while waiting.
    """
    while not processes.broadcast_flag_from_main(records.is_finished(workdir)):
        if processes.broadcast_flag_from_main(io.is_locked(workdir)):
            locks.wait(workdir)
            continue
        print_once(f"There is no {workdir.name} yet: training it in {workdir}")
        with contextlib.suppress(WorkdirLocked):  # Another process was faster.
            train(config, workdir, progress)
    _complete(workdir)


def _train(
    config: ml_collections.ConfigDict, workdir: Path, experiment: Experiment, progress: Callable[..., Progress]
) -> dict[str, Any]:
    """Trains a run whose prerequisites are finished and whose workdir is locked; returns its summary."""
    shapes, updates = jax.eval_shape(experiment.init, config.seed), experiment.epoch_starts[-1]
    with Checkpoints(workdir, keep_all=config.keep_all_checkpoints) as checkpoints, StopSignal() as stop_signal:
        if processes.is_main_process():
            records.write_config(config, workdir)
        checkpoints.require_room(shapes)
        try:
            teacher = teachers.record(config, workdir, experiment, stop_signal)
        except StopRequested:
            done = "stopped while the teacher was evaluated"
            raise TrainingInterrupted(f"{stop_signal.signal_name}: {done}; the same command goes on") from None
        with CompilationTimer() as clock:
            state = checkpoints.restore(shapes)
            if state is None:
                print_once(f"student {config.student.name}: {models.count_parameters(shapes.student):,} parameters")
                state = devices.replicate(jax.jit(experiment.init)(config.seed))
            step = int(state.step)
            images = {"total_images": updates * config.batch_size, "done_images": step * config.batch_size}
            title = "teacher" if config.trains_teacher else naming.method_name(config)
            with MetricLog(workdir, step) as log, progress(title, **images) as bar:
                trainer = Trainer(config, experiment, checkpoints, log, clock, stop_signal, bar)
                try:
                    trainer.train(state)
                    summary = summarize(config, experiment, log, teacher)
                except StopRequested:
                    checkpoints.wait()  # Before it is said that all is saved.
                    done = f"stopped after {trainer.saved_step:,} of {updates:,} updates, which are saved"
                    raise TrainingInterrupted(f"{stop_signal.signal_name}: {done}; the same command goes on") from None
    if skipped := summary.get("skipped_updates"):
        warn(
            f"{skipped:,} of {updates:,} updates were skipped, as they would have left loss or weights that are not "
            "finite: a lower --config.learning_rate may help, with another --workdir"
        )
    if processes.is_main_process():
        io.write_json(workdir / layout.SUMMARY, summary)
        report.write(workdir)
    processes.barrier(f"{workdir} is finished")
    return summary


def _complete(workdir: Path) -> None:
    """Writes the report of a finished run that was stopped just before it."""
    if processes.is_main_process() and not (workdir / layout.REPORT).exists():
        report.write(workdir)
