"""The record of a run's teacher: the fingerprint of its weights and its test accuracy."""

from pathlib import Path
from typing import Any

from rdd_jax import models
from rdd_jax.core import io, processes, user_code
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.progress import image_progress
from rdd_jax.data import loading
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import TrainedModel
from rdd_jax.steps.evaluation import accuracies
from rdd_jax.training.preemption import StopRequested, StopSignal
from rdd_jax.training.setup import Experiment


def record(config: RunConfig, workdir: Path, experiment: Experiment, stop_signal: StopSignal) -> dict[str, Any] | None:
    """Evaluates the teacher on the test images, prints its accuracy, and writes workdir/teacher.json.

    A resumed run reads the accuracy from there, as `trained_models.load_teacher` refuses a teacher with another
    fingerprint.

    Args:
        config: of the run.
        workdir: of the run.
        experiment: the run's data and functions.
        stop_signal: tells when the run is asked to stop.

    Returns:
        The content of teacher.json: {"name", "place": an absolute path, "fingerprint": of the variables, "accuracy" and
        "top5_accuracy": percent of the test images, as `evaluation.Evaluate` returns them}. None for a run without a
        teacher.

    Raises:
        StopRequested: where the run was asked to stop during the evaluation.
    """
    if not experiment.teacher:
        return None
    variables = experiment.teacher.variables
    num_classes = loading.describe(config.data).num_classes
    path, recorded = naming.teacher_path(config, workdir), records.read_teacher(workdir)
    assert path is not None
    place = path.absolute()
    name = user_code.short_name(config.teacher.name)
    teacher = {"name": name, "place": str(place), "fingerprint": fingerprint(variables)}
    measured = accuracies(recorded) if recorded.get("fingerprint") == teacher["fingerprint"] else {}
    if processes.any_process(not measured):
        processes.print_once(f"evaluating the teacher in {place}")
        measured = _evaluate(experiment, experiment.teacher, stop_signal)
    parameters = models.count_parameters(variables)
    processes.print_once(f"teacher {name}: {parameters:,} parameters, {measured['accuracy']:.2f}% of the test images")
    if measured["accuracy"] < near_chance(num_classes):
        processes.warn(
            f"the teacher is hardly better than chance, {100 / num_classes:.3g}%: are {place} and the "
            "data set the right ones, and were its images normalised in the same way?"
        )
    if processes.is_main_process():
        io.write_json(workdir / layout.TEACHER, teacher | measured)
    return teacher | measured


def _evaluate(experiment: Experiment, teacher: TrainedModel, stop_signal: StopSignal) -> dict[str, float]:
    """Returns the teacher's accuracies on the test images, in percent."""
    network, variables = teacher
    with image_progress("evaluating the teacher") as show:

        def on_batch(done: int, total: int) -> None:
            show(done, total)
            if stop_signal.stop_requested():
                raise StopRequested

        return accuracies(experiment.make_evaluate(network)(variables, experiment.test, on_batch))


def near_chance(num_classes: int) -> float:
    """Returns the accuracy, in percent, below which a classifier is hardly better than guessing.

    It is twice the accuracy of guessing or, for few classes, a tenth of the way from guessing to 100 %.
    """
    chance = 100 / num_classes
    return min(2 * chance, chance + (100 - chance) / 10)
