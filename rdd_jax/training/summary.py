"""The content of summary.json: the results of a finished run."""

from datetime import UTC, datetime
from typing import Any

import jax

from rdd_jax import models
from rdd_jax.core import user_code
from rdd_jax.data import loading
from rdd_jax.models import Network
from rdd_jax.runs import naming
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.versions import versions
from rdd_jax.steps.evaluation import evaluation_metrics
from rdd_jax.steps.train_state import SKIPPED
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.setup import Experiment


def summarize(
    config: RunConfig, experiment: Experiment, log: MetricLog, teacher: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the results of a finished run on the test images; accuracies are in percent.

    Args:
        config: of the run.
        experiment: the run's data and functions.
        log: of the run, with the evaluation of its last epoch.
        teacher: as `teachers.record` returns it.
    """
    last = log.last_test_line()
    name = user_code.short_name(config.student.name)
    metrics = evaluation_metrics({**last, "nll": last["loss"]})
    student = {"name": name, **metrics, "best_accuracy": log.best_accuracy()}
    if config.optimizer.ema:
        student["ema"] = config.optimizer.ema  # The accuracies are of the average.
    if teacher and experiment.teacher:
        teacher = _teacher(teacher, experiment.teacher.network, config)
        if members := teacher.get("members"):
            pairs = zip(members, experiment.teachers, strict=True)
            teacher["members"] = [_teacher(member, model.network, config) for member, model in pairs]
    return {
        "method": naming.method_name(config),
        "dataset": loading.dataset_name(config.data),
        "seed": config.seed,
        "epochs": config.epochs,
        "steps": last["step"],
        "wall_seconds": last["seconds"],
        "compile_seconds": sum(line["compile_seconds"] for line in log.lines),
        "teacher": teacher,
        **({"skipped_updates": skipped_updates(log.lines)} if config.nonfinite == "skip" else {}),
        "student": {**student, **_cost(experiment.student, config)},
        "devices": f"{jax.device_count()} x {jax.local_devices()[0].device_kind}",
        "processes": jax.process_count(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def _teacher(record: dict[str, Any], network: Network, config: RunConfig) -> dict[str, Any]:
    """Returns the record of a teacher with its cost, without its bins and, as runs are copied elsewhere, its place."""
    left_out = ("place", "reliability")
    return {**{key: value for key, value in record.items() if key not in left_out}, **_cost(network, config)}


def skipped_updates(lines: list[dict[str, Any]]) -> int:
    """Counts the updates that were skipped because they were not finite.

    Args:
        lines: the lines of metrics.jsonl; each line of the split "train" has the skipped percentage of its updates.
    """
    skipped, begin = 0.0, 0
    for line in lines:
        if line["split"] == "train":
            skipped += line.get(SKIPPED, 0.0) / 100 * (line["step"] - begin)
            begin = line["step"]
    return round(skipped)


def _cost(network: Network, config: RunConfig) -> dict[str, int | None]:
    """Returns the number of parameters and of multiply-adds for one image, None where that depends on the image."""
    image_shape = loading.describe(config.data).image_shape
    shapes = models.variable_shapes(network, image_shape)
    return {
        "parameters": models.count_parameters(shapes),
        "multiply_adds": models.count_multiply_adds(network, shapes, image_shape),
    }
