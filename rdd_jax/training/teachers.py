"""The record of a run's teacher: its weights' fingerprint and its accuracy, told before anything is learned from it."""

from pathlib import Path
from typing import Any

import ml_collections

from rdd_jax import models
from rdd_jax.core import io, processes
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.progress import image_progress
from rdd_jax.runs import layout, naming, records
from rdd_jax.steps.evaluation import accuracies
from rdd_jax.training.interruptible import StopRequested
from rdd_jax.training.preemption import StopSignal
from rdd_jax.training.setup import Experiment


def record(
    config: ml_collections.ConfigDict, workdir: Path, experiment: Experiment, stop_signal: StopSignal
) -> dict[str, Any] | None:
    """Measures the teacher on the test images, prints its accuracy, and keeps both in workdir/teacher.json.

    A resumed run takes the accuracy from there: `networks.load_teacher` refuses a teacher with another fingerprint.

    Returns:
        What teacher.json holds: {"name", "place": an absolute path, "fingerprint": of the variables, "accuracy" and
        "top5_accuracy": percent of the test images, as `evaluate` has them}. None for a run without a teacher.

    Raises:
        StopRequested: where the run was asked to stop during the evaluation.
    """
    if not experiment.teacher:
        return None
    model, variables = experiment.teacher
    place, before = naming.teacher_place(config, workdir).absolute(), records.read_teacher(workdir)
    teacher = {"name": config.teacher.name, "place": str(place), "fingerprint": fingerprint(variables)}
    measured = accuracies(before) if before.get("fingerprint") == teacher["fingerprint"] else {}
    if processes.any_process(not measured):
        processes.print_once(f"evaluating the teacher in {place}")
        measured = _evaluate(experiment, stop_signal)
    parameters = models.count_parameters(variables)
    processes.print_once(
        f"teacher {config.teacher.name}: {parameters:,} parameters, {measured['accuracy']:.2f}% of the test images"
    )
    if measured["accuracy"] < near_chance(model.num_classes):
        processes.warn(
            f"the teacher is hardly better than chance, {100 / model.num_classes:.3g}%: are {place} and the "
            "data set the right ones, and were its images normalised in the same way?"
        )
    if processes.is_main_process():
        io.write_json(workdir / layout.TEACHER, teacher | measured)
    return teacher | measured


def _evaluate(experiment: Experiment, stop_signal: StopSignal) -> dict[str, float]:
    """Evaluates the teacher on the test images; returns its accuracies in percent."""
    model, variables = experiment.teacher
    with image_progress("evaluating the teacher") as show:

        def after(done: int, total: int) -> None:
            show(done, total)
            if stop_signal.stop_requested():
                raise StopRequested

        return accuracies(experiment.evaluate(model)(variables, *experiment.test, after))


def near_chance(num_classes: int) -> float:
    """The accuracy, in percent, below which a classifier hardly does better than guessing.

    It is twice the accuracy of guessing, and of few classes a tenth of the way from guessing to 100 %.
    """
    chance = 100 / num_classes
    return min(2 * chance, chance + (100 - chance) / 10)
