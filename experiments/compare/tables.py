"""The tables of a comparison, accuracy, calibration and cost, as rows of text and as Markdown."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.compare import published, statistics
from experiments.compare.results import Results, Run, accuracies, runs_of, student_values, teachers
from experiments.compare.verdicts import format_p_value

Rows = list[dict[str, str]]

_NONE = "–"
# By column: the key in summary.json, the factor to the unit of the column, and the number of decimals.
_CALIBRATION = {"NLL": ("nll", 1, 3), "ECE (%)": ("ece", 100, 2)}
_SIMILARITIES = {"CKA": "cka", "rank correlation": "rank_correlation", "mutual k-NN": "mutual_knn"}


def accuracy_table(results: Results) -> str:
    """Formats `accuracy_rows` as Markdown."""
    return _markdown(accuracy_rows(results))


def calibration_table(results: Results) -> str:
    """Formats `calibration_rows` as Markdown."""
    return _markdown(calibration_rows(results))


def cost_table(results: Results) -> str:
    """Formats `cost_rows` as Markdown."""
    return _markdown(cost_rows(results))


def accuracy_rows(results: Results) -> Rows:
    """Returns a row for each label in the order asked for, and one for each teacher: cells by column."""
    differences, baseline = compare_to_baseline(results), results["baseline"]
    rows, asked = [], len(results["seeds"])
    for label in results["labels"]:
        runs = runs_of(results, label)
        last = [run["summary"]["student"]["accuracy"] for run in runs]
        interval = statistics.spread(last).interval
        difference, p_value = _difference_cells(differences.get(label))
        rows.append(
            {
                "method": label,
                "seeds": str(asked) if len(runs) == asked else f"{len(runs)} of {asked}",
                "last epoch": format_mean(last),
                "95 % interval": "{:.2f} to {:.2f}".format(*interval) if interval else _NONE,
                "best epoch": format_mean([run["summary"]["student"]["best_accuracy"] for run in runs]),
                f"against {baseline}": difference,
                "p (Holm)": p_value,
                "published": published.ACCURACIES.get(published.canonical_label(label), _NONE),
            }
        )
    for name, values in teachers(results).items():
        cells = {"method": f"teacher {name}", "last epoch": format_mean(values)}
        rows.append(dict.fromkeys(rows[0], _NONE) | cells | {"published": published.TEACHER_ACCURACY})
    columns = [name for name in rows[0] if name != "published" or has_published(results)]
    return [{name: row[name] for name in columns} for row in rows]


def calibration_rows(results: Results) -> Rows:
    """Returns a row of NLL and ECE for each label and each teacher: cells by column; [] where no run has them."""
    rows, baseline = [{"method": label} for label in results["labels"]], results["baseline"]
    for column, (key, factor, decimals) in _CALIBRATION.items():
        values = {
            label: {seed: factor * value for seed, value in student_values(results, label, key).items()}
            for label in results["labels"]
        }
        differences = statistics.differences(values, baseline)
        for row in rows:
            label = row["method"]
            difference, p_value = _difference_cells(differences.get(label), decimals)
            row[column] = format_mean(list(values[label].values()), decimals)
            row |= {f"{column} against {baseline}": difference, f"p (Holm) of {column}": p_value}
    if all(row[column] == _NONE for row in rows for column in _CALIBRATION):
        return []
    for name in teachers(results, "nll"):
        row = dict.fromkeys(rows[0], _NONE) | {"method": f"teacher {name}"}
        for column, (key, factor, decimals) in _CALIBRATION.items():
            row[column] = format_mean([factor * value for value in teachers(results, key)[name]], decimals)
        rows.append(row)
    return rows


def cost_rows(results: Results) -> Rows:
    """Returns a row of times and student metrics for each label: cells by column, without columns that are empty."""
    rows = [{"method": label} | _cost_cells(results, runs_of(results, label)) for label in results["labels"]]
    columns = [name for name in rows[0] if any(row[name] != _NONE for row in rows)]
    return [{name: row[name] for name in columns} for row in rows]


def compare_to_baseline(results: Results) -> dict[str, statistics.Difference]:
    """Returns the difference of every label but the baseline's, by label."""
    by_label = {label: accuracies(results, label) for label in results["labels"]}
    return statistics.differences(by_label, results["baseline"])


def has_published(results: Results) -> bool:
    """Tells whether all runs are of the networks and the preset in the papers' tables."""
    students = {run["summary"]["student"]["name"] for run in results["runs"]}
    networks = students <= {published.STUDENT} and teachers(results).keys() <= {published.TEACHER}
    return results["preset"] == published.PRESET and networks


def format_mean(values: Sequence[float], decimals: int = 2) -> str:
    """Formats the mean of the finite values with their sample deviation, if there are two or more."""
    spread = statistics.spread(values)
    if not spread.count:
        return _NONE
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.{decimals}f}"
    return f"{spread.mean:.{decimals}f}{deviation}"


def escape(text: str) -> str:
    """Escapes what Markdown would read as a tag or as the border of a column."""
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text).replace("|", r"\|")


def _difference_cells(difference: statistics.Difference | None, decimals: int = 2) -> tuple[str, str]:
    """Formats the difference from the baseline and its corrected p-value."""
    if not difference or not difference.pairs:
        return _NONE, _NONE
    p_value = _NONE if difference.adjusted is None else format_p_value(difference.adjusted)
    return f"{difference.mean:+z.{decimals}f}", p_value


def _cost_cells(results: Results, runs: Sequence[Run]) -> dict[str, str]:
    mined = [run for run in runs if run["minings"]]
    cells = {
        "minutes per run": _median([run["summary"]["wall_seconds"] / 60 for run in runs], 2),
        "minutes compiling": _median([run["summary"].get("compile_seconds", math.nan) / 60 for run in runs], 2),
        "minings": _median([run["minings"] for run in mined], 0),
        "seconds mining": _median([run["mining_seconds"] for run in mined], 1),
    }
    metrics = [run["student_metrics"] for run in runs]
    for name, key in _SIMILARITIES.items():
        cells[name] = format_mean([own[key] for own in metrics if key in own], 3)
    found = [run["student_metrics"].get("transfer_dataset") for run in results["runs"]]
    for dataset in dict.fromkeys(filter(None, found)):
        transfers = [own["transfer"] for own in metrics if own.get("transfer_dataset") == dataset]
        cells[f"transfer to {dataset}"] = format_mean(transfers)
    return cells


def _median(values: Sequence[float], decimals: int) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"{np.median(finite):.{decimals}f}" if finite else _NONE


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(map(escape, line))} |" for line in lines)
