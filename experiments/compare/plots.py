"""The figure of a comparison: accuracy by epoch, and after the last epoch by seed."""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.compare import statistics
from experiments.compare.published import canonical_label
from experiments.compare.results import Results, Run, accuracies, means, runs_of, teachers
from rdd_jax.analysis.plots import STYLE, escape_mathtext, png

CAPTION = (
    "Left: test accuracy after each epoch, the mean over the seeds. Right: after the last epoch, a dot for each seed, "
    "a diamond for the mean and a bar for its 95 % interval."
)
# Okabe and Ito's palette, with brown instead of yellow: distinguishable with any colour vision deficiency.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
_LINES = ("-", ":", "-.")
_TEACHER = {"color": "#333333", "linewidth": 1.2, "zorder": 1.5}
_TEACHER_LINES = ((0, (5, 3)), (0, (1, 2)), (0, (8, 2, 1, 2)))


def draw(results: Results, published: Mapping[str, Mapping[int, float]]) -> bytes:
    """Draws the accuracies of all labels that have one.

    Args:
        results: the content of results.json, with at least one finite accuracy.
        published: test accuracies in percent by method and epoch.

    Returns:
        A PNG.
    """
    labels = list(means(results))
    looks = dict(zip(labels, itertools.cycle(itertools.product(_LINES, _COLORS)), strict=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, max(4.5, 0.8 + 0.4 * len(labels))), layout="constrained")
        left, right = figure.subplots(1, 2)
        for row, (label, (line, color)) in enumerate(looks.items()):
            _draw_curve(left, runs_of(results, label), color, line)
            _draw_seeds(right, row, list(accuracies(results, label).values()), color, line)
        _draw_published(left, published, {label: color for label, (_, color) in looks.items()})
        for (name, values), line in zip(teachers(results).items(), itertools.cycle(_TEACHER_LINES)):
            left.axhline(float(np.mean(values)), linestyle=line, **_TEACHER)
            label = escape_mathtext(f"teacher {name}")
            right.axvline(float(np.mean(values)), linestyle=line, label=label, **_TEACHER)
            right.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        left.set(title="Test accuracy (%)", xlabel="Epoch", ylim=_curve_limits(results))
        left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        right.set(title="After the last epoch (%)", ylim=(len(labels) - 0.5, -0.5))
        right.set_yticks(range(len(labels)), [escape_mathtext(textwrap.fill(label, 34)) for label in labels])
        right.grid(axis="y", visible=False)
        return png(figure)


def _draw_curve(axes: Axes, runs: Sequence[Run], color: str, line: str) -> None:
    """Draws the mean test accuracy of the runs after each epoch."""
    by_epoch: dict[int, list[float]] = {}
    for run in runs:
        for epoch, accuracy in zip(run["epochs"], run["test_accuracy"], strict=True):
            by_epoch.setdefault(epoch, []).append(accuracy)
    epochs = sorted(by_epoch)
    mean = [np.mean(by_epoch[epoch]) for epoch in epochs]
    marker = "o" if len(epochs) <= 12 else None
    axes.plot(epochs, mean, color=color, linestyle=line, marker=marker, markersize=4, linewidth=1.5)


def _draw_seeds(axes: Axes, row: int, values: Sequence[float], color: str, line: str) -> None:
    """Draws the accuracies of the seeds below their mean and its interval."""
    spread = statistics.spread(values)
    finite = sorted(filter(math.isfinite, values))
    # Spread vertically, because seeds may have equal accuracies.
    heights = row + 0.1 + 0.25 * np.arange(1, len(finite) + 1) / len(finite)
    axes.plot(finite, heights, "o", color=color, alpha=0.5, markersize=4, markeredgewidth=0)
    if spread.interval:
        axes.plot(spread.interval, [row - 0.1] * 2, color=color, linestyle=line, linewidth=2.4)
    axes.plot(spread.mean, row - 0.1, "D", color=color, markersize=7, markeredgecolor="white")


def _draw_published(axes: Axes, published: Mapping[str, Mapping[int, float]], colors: Mapping[str, str]) -> None:
    """Draws published curves in the colour of the label that they belong to, or in grey."""
    by_method = {canonical_label(label): color for label, color in colors.items()}
    for method, curve in published.items():
        epochs = sorted(curve)
        color = by_method.get(canonical_label(method), "#777777")
        label = escape_mathtext(f"{method}, published")
        axes.plot(epochs, [curve[epoch] for epoch in epochs], color=color, linestyle="--", linewidth=0.8, label=label)
    if published:
        axes.legend(loc="lower right", fontsize="small")


def _curve_limits(results: Results) -> tuple[float, float]:
    """Returns limits of the accuracy axis that leave out the steep first epochs."""
    values = [accuracy for run in results["runs"] for accuracy in run["test_accuracy"] if math.isfinite(accuracy)]
    values += [accuracy for found in teachers(results).values() for accuracy in found]
    low, high = np.percentile(values, [8, 100])
    margin = 0.06 * max(high - low, 1.0)
    return low - margin, min(high, 100.0) + margin
