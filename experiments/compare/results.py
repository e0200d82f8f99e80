"""Reads results.json of a comparison: its runs, accuracies and teachers."""

import math
import statistics
from typing import Any

Json = dict[str, Any]


def runs_of(results: Json, label: str) -> list[Json]:
    """The finished runs of a label."""
    return [run for run in results["runs"] if run["label"] == label]


def accuracies(results: Json, label: str) -> dict[int, float]:
    """A label's test accuracy after the last epoch, in percent, by seed."""
    return {run["seed"]: run["summary"]["student"]["accuracy"] for run in runs_of(results, label)}


def means(results: Json) -> dict[str, float]:
    """The mean accuracy after the last epoch, in percent, of every label that has a finite one."""
    finite = {label: list(filter(math.isfinite, accuracies(results, label).values())) for label in results["labels"]}
    return {label: statistics.mean(values) for label, values in finite.items() if values}


def teachers(results: Json) -> dict[str, list[float]]:
    """The networks that taught, each with its distinct accuracies in percent: one, unless every seed has its own."""
    found: dict[str, set[float]] = {}
    for run in results["runs"]:
        if teacher := run["summary"]["teacher"]:
            found.setdefault(teacher["name"], set()).add(teacher["accuracy"])
    return {name: sorted(values) for name, values in found.items()}
