"""The content of results.json: its type, its text, and what tables and figures read from it."""

import json
import math
from typing import Any, TypedDict

import numpy as np


class Run(TypedDict):
    """A finished or diverged run.

    Attributes:
        label: of its row in the tables.
        summary: the content of the run's summary.json; of a diverged run the results are NaN.
        epochs: the epochs after which the student was tested, counted from 1.
        test_accuracy: in percent, one for each of `epochs`.
        minings: how often the contrast table was mined.
        mining_seconds: seconds spent on minings, on the embeddings for them, and on measuring drift.
        student_metrics: as returned by `student_metrics.compute`; {} where they were not computed.
    """

    label: str
    seed: int
    summary: dict[str, Any]
    epochs: list[int]
    test_accuracy: list[float]
    minings: int
    mining_seconds: float
    student_metrics: dict[str, Any]


class Results(TypedDict):
    """A comparison: what was asked for, and the runs that are over.

    Attributes:
        command: the command that made it.
        preset: of rdd_jax.runs.presets.
        dataset: its name.
        test_images: the size of the test set.
        validation: the share of the training images held out for picking the best epoch; 0 where the test set picks it.
        baseline: the label that the others are tested against.
        device: the devices that trained the runs.
        labels: the rows asked for, in order.
        seeds: the seeds asked for.
        runs: those that are over.
    """

    command: str
    preset: str
    dataset: str
    test_images: int
    validation: float
    baseline: str
    device: str
    labels: list[str]
    seeds: list[int]
    runs: list[Run]


def dumps(results: Results) -> str:
    """Formats results as a JSON object with one run per line, so that a diff shows which runs have changed."""
    others = json.dumps({key: value for key, value in results.items() if key != "runs"})
    runs = ",\n".join(json.dumps(run) for run in results["runs"])
    return f'{others.removesuffix("}")}, "runs": [\n{runs}\n]}}\n'


def runs_of(results: Results, label: str) -> list[Run]:
    """Returns the runs of a label."""
    return [run for run in results["runs"] if run["label"] == label]


def accuracies(results: Results, label: str) -> dict[int, float]:
    """Returns a label's test accuracy after the last epoch, in percent, by seed; NaN for a diverged run."""
    return student_values(results, label, "accuracy")


def student_values(results: Results, label: str, key: str) -> dict[int, float]:
    """Returns what the summaries of a label's runs have of the student under a key, by seed; NaN for a diverged run."""
    students = {run["seed"]: run["summary"]["student"] for run in runs_of(results, label)}
    return {seed: student[key] for seed, student in students.items() if key in student}


def means(results: Results) -> dict[str, float]:
    """Returns the mean accuracy after the last epoch, in percent, of every label that has a finite one."""
    finite = {label: list(filter(math.isfinite, accuracies(results, label).values())) for label in results["labels"]}
    return {label: float(np.mean(values)) for label, values in finite.items() if values}


def teachers(results: Results, key: str = "accuracy") -> dict[str, list[float]]:
    """Returns the distinct accuracies of the teachers, in percent, by name; several where each seed has its own.

    With another key it is another value of the summaries, of the teachers that have it.
    """
    found: dict[str, set[float]] = {}
    for run in results["runs"]:
        teacher = run["summary"]["teacher"]
        if teacher and key in teacher:
            found.setdefault(teacher["name"], set()).add(teacher[key])
    return {name: sorted(values) for name, values in found.items()}
