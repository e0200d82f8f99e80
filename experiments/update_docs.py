"""Refreshes the tables of results in README.md and docs/, and README's picture, from experiments/results.

    python -m experiments.update_docs

A table stands between <!-- PATH.json PART --> and <!-- end -->, where PART is a key of `_PARTS`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import staleness
from experiments.compare import notes, report, statistics, tables
from experiments.compare.results import Results, accuracies, means, teachers
from rdd_jax.analysis.plots import STYLE, png

ROOT = Path(__file__).parent.parent
PICTURE, PICTURE_RESULTS = (
    ROOT / "docs/images/accuracy.png",
    ROOT / "experiments/results/cifar100_small/methods/results.json",
)
_BLOCK = re.compile(r"(<!-- (\S+\.json) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS = {
    "accuracy": tables.accuracy_table,
    "conditions": notes.conditions,
    "cost": tables.cost_table,
    "verdicts": lambda results: "\n".join(f"- {sentence}" for sentence in report.verdicts(results)),
    "staleness": staleness.table,
}
_HIGHLIGHTED, _PLAIN, _TEACHER = "#0072B2", "#777777", "#D55E00"


def pages() -> Iterator[Path]:
    """Yields README.md and the pages of docs/."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").glob("*.md"))


def refresh(text: str) -> str:
    """Returns a page with every generated table replaced by the one that the stored results give."""

    def fill(block: re.Match) -> str:
        start, path, part, end = block.groups()
        results = json.loads((ROOT / path).read_text())
        return f"{start}\n{_PARTS[part](results)}\n\n{end}"

    return _BLOCK.sub(fill, text)


def draw_accuracies(results: Results, title: str) -> bytes:
    """Draws accuracies, best method first: the mean with its 95 % interval, and below it a dot for each seed.

    Args:
        results: the content of a comparison's results.json.
        title: above the axes.

    Returns:
        A PNG.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.subplots()
        ordered = sorted(means(results).items(), key=lambda item: item[1])
        for row, (label, _) in enumerate(ordered):
            _draw_row(axes, row, list(accuracies(results, label).values()), _HIGHLIGHTED if label == "rdd" else _PLAIN)
        for name, (accuracy, *_) in teachers(results).items():
            axes.axvline(accuracy, color=_TEACHER, linestyle="--", linewidth=1.2, label=f"teacher {name}")
        axes.set_yticks(range(len(ordered)), [label for label, _ in ordered])
        axes.set(xlabel="Test accuracy after the last epoch (%): seeds, mean, 95 % interval of the mean", title=title)
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower right")
        return png(figure)


def _draw_row(axes: Axes, row: int, values: list[float], color: str) -> None:
    spread = statistics.spread(values)
    axes.plot(spread.interval, [row, row], color=color, linewidth=2.5, alpha=0.5, solid_capstyle="butt")
    axes.plot(values, [row - 0.25] * len(values), "o", color=color, markersize=4, alpha=0.5)
    axes.plot([spread.mean], [row], "D", color=color, markersize=7, markeredgecolor="white")


def main() -> None:
    """Rewrites the pages and the picture in place."""
    for path in pages():
        path.write_text(refresh(path.read_text()))
    results = json.loads(PICTURE_RESULTS.read_text())
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(draw_accuracies(results, "resnet8 from resnet20, 20 classes of CIFAR-100, 40 epochs, 3 seeds"))


if __name__ == "__main__":
    main()
