"""Mean and standard deviation over seeds, from the summaries of finished runs, as a Markdown table.

    python -m experiments.table runs [--save=experiments/results/digits.json]     from workdirs
    python -m experiments.table experiments/results/digits.json                   from what --save kept

Accuracies are of the last epoch and of the best one, in percent; the deviation is the sample's (n - 1).
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_HEADER = ["data set", "method", "student", "epochs", "seeds", "last epoch", "best epoch", "minutes a run"]


def load(source: Path) -> list[dict[str, Any]]:
    """The summaries in a JSON file, or of all the distillations below a folder."""
    if source.is_file():
        return json.loads(source.read_text())
    summaries = [json.loads(path.read_text()) for path in sorted(source.glob("*/summary.json"))]
    return [summary for summary in summaries if summary["teacher"]]


def table(summaries: Iterable[dict[str, Any]]) -> str:
    """The Markdown table, a row for each data set, method, student and length, in the order of first appearance.

    Raises:
        ValueError: where two runs of a row have the same seed.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for summary in summaries:
        key = (summary["dataset"], summary["method"], summary["student"]["name"], str(summary["epochs"]))
        groups.setdefault(key, []).append(summary)
    for key, group in groups.items():
        if len({summary["seed"] for summary in group}) < len(group):
            raise ValueError(f"two runs of {', '.join(key)} epochs have the same seed: they are no spread over seeds")
    rows = [_HEADER, ["---"] * len(_HEADER), *([*key, *_cells(group)] for key, group in groups.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(group: list[dict[str, Any]]) -> list[str]:
    accuracies = [[summary["student"][key] for summary in group] for key in ("accuracy", "best_accuracy")]
    minutes = statistics.median(summary["wall_seconds"] for summary in group) / 60
    return [str(len(group)), *map(_spread, accuracies), f"{minutes:.1f}"]


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def main() -> None:
    """Prints the table; with --save, keeps the summaries it is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder of workdirs, or a JSON file of summaries")
    parser.add_argument("--save", type=Path, help="where to keep the summaries")
    arguments = parser.parse_args()
    summaries = load(arguments.source)
    if not summaries:
        parser.error(f"no finished run below {arguments.source}")
    if arguments.save:
        arguments.save.write_text(json.dumps(summaries, indent=1) + "\n")
    try:
        print(table(summaries))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
