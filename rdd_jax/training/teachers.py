"""The record of a run's teacher, or teachers: fingerprints of the weights, and the results on the test images."""

from pathlib import Path
from typing import Any

from rdd_jax import models
from rdd_jax.core import io, processes, user_code
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.progress import image_progress
from rdd_jax.data import loading
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.naming import PlacedNetwork
from rdd_jax.runs.trained_models import TrainedModel
from rdd_jax.steps import calibration
from rdd_jax.training.preemption import StopRequested, StopSignal
from rdd_jax.training.setup import Experiment

_NO_RESULTS = {"name", "place", "fingerprint", "members"}


def record(config: RunConfig, workdir: Path, experiment: Experiment, stop_signal: StopSignal) -> dict[str, Any] | None:
    """Evaluates the teacher on the test images, prints its accuracy, and writes workdir/teacher.json.

    A resumed run reads the results from there, as `trained_models.load_teacher` refuses a teacher with another
    fingerprint.

    Args:
        config: of the run.
        workdir: of the run.
        experiment: the run's data and functions.
        stop_signal: tells when the run is asked to stop.

    Returns:
        The content of teacher.json: {"name", "place": an absolute path, "fingerprint": of the variables, "accuracy" and
        the other metrics of an `evaluation.Evaluation` on the test images, "reliability": as `calibration.as_json`
        returns it}. Several teachers have no place together, and the same of each in "members". None for a run without
        a teacher.

    Raises:
        StopRequested: where the run was asked to stop during the evaluation.
    """
    if not experiment.teacher:
        return None
    path, recorded = workdir / layout.TEACHER, records.read_teacher(workdir)
    places = naming.teachers(config, workdir)
    known = recorded.get("members", [recorded])
    members = [
        _record_one(_describe(place), model, _recorded_results(known, number, model), experiment, stop_signal)
        for number, (place, model) in enumerate(zip(places, experiment.teachers, strict=True))
    ]
    if len(members) > 1:
        name = " + ".join(member["name"] for member in members)
        measured = _recorded_results([recorded], 0, experiment.teacher)
        teacher = _record_one({"name": name}, experiment.teacher, measured, experiment, stop_signal)
        teacher["members"] = members
    else:
        teacher = members[0]
    num_classes = loading.describe(config.data).num_classes
    for one in members:
        if one["accuracy"] < near_chance(num_classes):
            processes.warn(
                f"the teacher is hardly better than chance, {100 / num_classes:.3g}%: are {one['place']} and the "
                "data set the right ones, and were its images normalised in the same way?"
            )
    if processes.is_main_process():
        io.write_json(path, teacher)
    return teacher


def _describe(place: PlacedNetwork) -> dict[str, Any]:
    return {"name": user_code.short_name(place.network.name), "place": str(place.path.absolute())}


def _recorded_results(records: list[dict[str, Any]], number: int, model: TrainedModel) -> dict[str, Any]:
    """Returns the results in a record if it is of the same variables, else {}."""
    recorded = records[number] if number < len(records) else {}
    same = recorded.get("fingerprint") == fingerprint(model.variables)
    return {key: value for key, value in recorded.items() if key not in _NO_RESULTS} if same else {}


def _record_one(
    description: dict[str, Any],
    model: TrainedModel,
    measured: dict[str, Any],
    experiment: Experiment,
    stop_signal: StopSignal,
) -> dict[str, Any]:
    """Returns the record of one network, which is evaluated unless its results are given, and prints it."""
    if processes.any_process(not measured):
        place = f"the teacher in {description['place']}" if "place" in description else "the teachers together"
        processes.print_once(f"evaluating {place}")
        measured = _evaluate(experiment, model, stop_signal)
    parameters = models.count_parameters(model.variables)
    processes.print_once(
        f"teacher {description['name']}: {parameters:,} parameters, {measured['accuracy']:.2f}% of the test images"
    )
    return {**description, "fingerprint": fingerprint(model.variables), **measured}


def _evaluate(experiment: Experiment, teacher: TrainedModel, stop_signal: StopSignal) -> dict[str, Any]:
    """Returns the teacher's metrics and bins of confidence on the test images."""
    with image_progress("evaluating the teacher") as show:

        def on_batch(done: int, total: int) -> None:
            show(done, total)
            if stop_signal.stop_requested():
                raise StopRequested

        evaluate = experiment.make_evaluate(teacher.network)
        metrics, reliability = evaluate(teacher.variables, experiment.test, on_batch)
        return {**metrics, "reliability": calibration.as_json(reliability)}


def near_chance(num_classes: int) -> float:
    """Returns the accuracy, in percent, below which a classifier is hardly better than guessing.

    It is twice the accuracy of guessing or, for few classes, a tenth of the way from guessing to 100 %.
    """
    chance = 100 / num_classes
    return min(2 * chance, chance + (100 - chance) / 10)
