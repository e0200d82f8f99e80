"""A whole run: teacher, student, evaluation, records, checkpoints and report."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from rdd_jax import models
from rdd_jax.analysis import report
from rdd_jax.core import compilation, devices, io, processes, user_code
from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.core.errors import WorkdirLocked
from rdd_jax.core.processes import print_once, warn
from rdd_jax.core.progress import Progress
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.runs.versions import versions
from rdd_jax.training import config_checks, locks, teachers
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.preemption import StopRequested, StopSignal
from rdd_jax.training.setup import Experiment, build
from rdd_jax.training.summary import summarize
from rdd_jax.training.trainer import Trainer


def train(config: RunConfig, workdir: Path, progress: Callable[..., Progress] = Progress) -> dict[str, Any]:
    """Trains a run to its end, from its last checkpoint where there is one.

    In this order it
    1. checks the configuration, and that the workdir holds no other run;
    2. returns the summary of a run that is finished already;
    3. trains the runs that this one needs: its teacher, or the holdout models of RHO-LOSS;
    4. reads the data, restores the teacher and builds the functions of the run (`setup.build`);
    5. locks the workdir and writes config.json;
    6. evaluates the teacher and writes teacher.json;
    7. restores the last checkpoint, or initialises the student;
    8. trains: mines, updates, evaluates, logs and saves, epoch by epoch (`Trainer`);
    9. writes summary.json and the report.

    Args:
        config: of the run.
        workdir: the folder that the run writes to.
        progress: makes the progress bar, as `progress.Progress` does.

    Returns:
        The content of summary.json.

    Raises:
        UserError: for a run that could not work, before anything is compiled or written; for files that are damaged or
            cannot be written; and for a loss that is not finite, where the policy `nonfinite` is to stop.
        TrainingInterrupted: on SIGTERM or SIGINT, when all is saved.
    """
    versions()  # Looks up the commit now: the source may be edited during the run.
    config_checks.check(config, workdir)
    if records.is_finished(workdir):
        return _finished_summary(config, workdir)
    if processes.is_main_process():
        io.check_writable(workdir)
    compilation.enable_compilation_cache(naming.shared_folder(workdir).absolute() / layout.COMPILATIONS)
    for required_config, required_workdir in naming.required_runs(config, workdir):
        train_shared(required_config, required_workdir, progress)
    config_checks.check_required_runs(config, workdir)  # Another process may have trained them by another recipe.
    experiment = build(config, workdir)
    with locks.locked(workdir):
        # Another process may have finished it while this one read the data.
        if processes.broadcast_flag_from_main(records.is_finished(workdir)):
            return records.read_summary(workdir)
        summary = _train_student(config, workdir, experiment, progress)
        _finish(workdir, summary)
    return summary


def train_shared(config: RunConfig, workdir: Path, progress: Callable[..., Progress] = Progress) -> None:
    """Trains a run that several runs need; waits for it where another process is training it.

    Should that process end before the run is finished, this one resumes the run.

    Args:
        config: of the run.
        workdir: of the run.
        progress: as of `train`.

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
    _write_missing_report(workdir)


def _train_student(
    config: RunConfig, workdir: Path, experiment: Experiment, progress: Callable[..., Progress]
) -> dict[str, Any]:
    """Trains the student of a run whose prerequisites are finished and whose workdir is locked; returns the summary."""
    shapes = jax.eval_shape(experiment.init, config.seed)
    with Checkpoints(workdir, keep_all=config.keep_all_checkpoints) as checkpoints, StopSignal() as stop_signal:
        if processes.is_main_process():
            records.write_config(config, workdir)
        checkpoints.require_room(shapes)
        try:
            teacher = teachers.record(config, workdir, experiment, stop_signal)
        except StopRequested:
            raise stop_signal.interruption("stopped while the teacher was evaluated") from None
        with CompilationTimer() as clock:
            state = checkpoints.restore(shapes)
            if state is None:
                name = user_code.short_name(config.student.name)
                print_once(f"student {name}: {models.count_parameters(shapes.student):,} parameters")
                state = devices.replicate(jax.jit(experiment.init)(config.seed))
            step = int(state.step)
            with MetricLog(workdir, step) as log, _make_progress(config, experiment, step, progress) as bar:
                trainer = Trainer(config, experiment, checkpoints, log, clock, stop_signal, bar)
                try:
                    trainer.train(state)
                    return summarize(config, experiment, log, teacher)
                except StopRequested:
                    checkpoints.wait()  # The message says that all is saved.
                    raise stop_signal.interruption(
                        f"stopped after {trainer.saved_step:,} of {experiment.epoch_starts[-1]:,} updates, which are "
                        "saved"
                    ) from None


def _make_progress(config: RunConfig, experiment: Experiment, step: int, progress: Callable[..., Progress]) -> Progress:
    """Makes the progress bar of a run of which `step` updates are done."""
    title = "teacher" if config.trains_teacher else naming.method_name(config)
    total = experiment.epoch_starts[-1] * config.batch_size
    return progress(title, total_images=total, done_images=step * config.batch_size)


def _finish(workdir: Path, summary: dict[str, Any]) -> None:
    """Writes summary.json and the report, and warns of skipped updates."""
    if skipped := summary.get("skipped_updates"):
        warn(
            f"{skipped:,} of {summary['steps']:,} updates were skipped, as they would have left loss or weights that "
            "are not finite: a lower --config.learning_rate may help, with another --workdir"
        )
    if processes.is_main_process():
        io.write_json(workdir / layout.SUMMARY, summary)
        report.write(workdir)
    processes.barrier(f"{workdir} is finished")


def _finished_summary(config: RunConfig, workdir: Path) -> dict[str, Any]:
    """Returns the summary of a finished run; records the new place of its data or teacher, where they have moved."""
    if processes.is_main_process() and differences(records.read_config(workdir), config):
        records.write_config(config, workdir)
    summary = records.read_summary(workdir)
    _write_missing_report(workdir)
    return summary


def _write_missing_report(workdir: Path) -> None:
    """Writes the report of a finished run that was stopped just before it."""
    if processes.is_main_process() and not (workdir / layout.REPORT).exists():
        report.write(workdir)
