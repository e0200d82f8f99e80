"""The figures of a comparison: accuracy by epoch, by seed, and over what it costs."""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from experiments.compare import statistics
from experiments.compare.published import usual_name
from experiments.compare.results import Json, accuracies, runs_of, teachers
from rdd_jax.analysis.plots import STYLE, png, verbatim

# Okabe and Ito's palette, with a brown for its yellow: told apart under every common colour blindness.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
_MARKERS = ("o", "s", "^")
# One for each round through the colours; none is that of the teacher or of published runs.
_LINES = ("-", (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_DASHES = (0, (5, 3))
_INK, _SOFT = "#333333", "#777777"
_STYLE = STYLE | {"legend.fontsize": "small", "legend.handlelength": 2.6}
_WIDTH = 10
# How much of an axis, in the range of what it shows, may go to reach the teacher; and the least range, in points.
_REACH, _LEAST_SPAN = 1.5, 0.5
# Where a text may stand from its point: how far in pixels, and which way to the right and up.
_DISTANCES = (5, 16, 28, 42, 60, 85, 115)
_DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
_BESIDE = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": "small", "color": _INK}
_LEADER = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
Curves = Mapping[str, Mapping[int, float]]
Pictures = dict[str, tuple[bytes, str]]


class _Look(NamedTuple):
    """How a label is drawn, alike in every figure."""

    name: str
    color: str
    line: Any
    marker: str


def draw(results: Json, published: Curves) -> Pictures:
    """PNGs with their captions, by name: curves and accuracies of what is finished, cost where there are two labels.

    Args:
        results: as results.json has them.
        published: the test accuracy in percent of others' single runs, by method and epoch.
    """
    looks = {}
    for i, label in enumerate(results["labels"]):
        # A run that has diverged may have no accuracy.
        if any(map(math.isfinite, accuracies(results, label).values())):
            turn = i // len(_COLORS) % len(_LINES)
            looks[label] = _Look(_name(label), _COLORS[i % len(_COLORS)], _LINES[turn], _MARKERS[turn])
    pictures = {}
    with matplotlib.rc_context(_STYLE):
        if looks:
            pictures["curves"] = _curves(results, looks, published)
            pictures["accuracies"] = _accuracies(results, looks)
        if len(looks) > 1:
            pictures["cost"] = _cost(results, looks)
    return pictures


def _name(label: str) -> str:
    return verbatim(textwrap.fill(label, 34))


def _curves(results: Json, looks: dict[str, _Look], published: Curves) -> tuple[bytes, str]:
    curves = {label: _by_epoch(runs_of(results, label)) for label in looks}
    last = max(int(curve[0, -1]) for curve in curves.values())
    # Among all epochs, the last ones are too close to be told apart.
    panels = {1: "Test accuracy (%)"}
    if last >= 10:
        count = max(5, last // 5)
        panels[last - count + 1] = f"The last {count} epochs"
    figure = Figure(figsize=(_WIDTH, 4.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (first, title) in zip(axes, panels.items(), strict=True):
        values = [_plot_curve(axis, look, *curves[label], first) for label, look in looks.items()]
        _plot_published(axis, looks, published)
        # The steep first epochs would squash all others, and a far teacher the last ones; a band may go beyond 100 %.
        lowest = 8 if len(panels) > 1 and first == 1 else 0
        low, high = np.nanpercentile(np.minimum(np.concatenate(values), 100.0), [lowest, 100])
        axis.set_ylim(_draw_teachers(axis.axhline, results, low, high, reach=_REACH if first == 1 else 0.1))
        axis.set(xlim=(first - 0.5, last + 0.5), xlabel="Epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _legend_below(figure, axes[0])
    caption = "Test accuracy after each epoch"
    if len(results["seeds"]) > 1:
        caption += ": the mean over the seeds, in a band of one sample deviation to either side"
    if published:
        caption += "; thin dashed lines are published single runs of others"
    return png(figure), f"{caption}."


def _by_epoch(runs: Sequence[Json]) -> np.ndarray:
    """Epochs, and the mean and sample deviation of the test accuracy at each, f64[3,e]; of one run that is 0."""
    values: dict[int, list[float]] = {}
    for run in runs:
        for epoch, accuracy in zip(run["epochs"], run["test_accuracy"], strict=True):
            values.setdefault(epoch, []).append(accuracy)
    return np.array([(epoch, np.mean(own), np.std(own, ddof=len(own) > 1)) for epoch, own in sorted(values.items())]).T


def _plot_curve(axis: Axes, look: _Look, epochs, mean, deviation, first: int) -> np.ndarray:
    """Draws mean and band, and returns their values from the epoch `first` on."""
    style = {"color": look.color, "linestyle": look.line, "marker": look.marker if len(epochs) <= 12 else None}
    axis.plot(epochs, mean, label=look.name, linewidth=1.7, markersize=4, **style)
    band = np.stack([mean - deviation, mean + deviation])
    axis.fill_between(epochs, *band, color=look.color, alpha=0.12, linewidth=0)
    return band[:, epochs >= first].ravel()


def _plot_published(axis: Axes, looks: dict[str, _Look], published: Curves) -> None:
    colors = {usual_name(label): look.color for label, look in looks.items()}
    for method, curve in published.items():
        epochs = sorted(curve)
        style = {"color": colors.get(usual_name(method), _SOFT), "linestyle": _DASHES, "linewidth": 0.9, "zorder": 1.8}
        axis.plot(epochs, [curve[epoch] for epoch in epochs], label=f"{_name(method)}, published", **style)


def _draw_teachers(draw_line, results: Json, low: float, high: float, reach: float) -> tuple[float, float]:
    """Draws the teachers' accuracies, and returns limits around low, high and the teachers within `reach` ranges."""
    middle, span = (low + high) / 2, max(high - low, _LEAST_SPAN)
    limits = [middle - 0.56 * span, middle + 0.56 * span]
    for name, own in teachers(results).items():
        accuracy = np.mean(own)
        near = abs(accuracy - middle) < (0.5 + reach) * span
        limits += [accuracy - 0.06 * span, accuracy + 0.06 * span] if near else []
        label = f"teacher {_name(name)}, {accuracy:.2f} %{'' if near else ' (outside)'}"
        draw_line(accuracy, color=_INK, linestyle=_DASHES, linewidth=1.2, zorder=1.5, label=label)
    return min(limits), max(limits)


def _legend_below(figure: Figure, axis: Axes) -> None:
    """All in one row, or else in columns of equal width, for which the figure grows."""
    handles, names = axis.get_legend_handles_labels()
    widths = [0.7 + 0.075 * max(map(len, name.split("\n"))) for name in names]
    if names:
        columns = len(names) if sum(widths) < _WIDTH else max(1, int(_WIDTH / max(widths)))
        figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(names) / columns))
        figure.legend(handles, names, loc="outside lower center", ncols=columns)


def _accuracies(results: Json, looks: dict[str, _Look]) -> tuple[bytes, str]:
    figure = Figure(figsize=(_WIDTH, 0.8 + 0.48 * len(looks)), layout="constrained")
    axis = figure.add_subplot()
    extent = []
    for row, (label, look) in enumerate(looks.items()):
        values = sorted(filter(math.isfinite, accuracies(results, label).values()))
        spread = statistics.spread(values)
        # At unequal heights, because seeds may tie: small test sets have few accuracies.
        step = min(0.08, 0.32 / len(values))
        heights = row + 0.2 + step * (np.arange(len(values)) - (len(values) - 1) / 2)
        axis.plot(values, heights, "o", color=look.color, alpha=0.5, markersize=5, markeredgewidth=0)
        interval = spread.interval or (spread.mean, spread.mean)
        axis.plot(interval, [row - 0.12] * 2, color=look.color, linewidth=2.4, solid_capstyle="butt")
        axis.plot(spread.mean, row - 0.12, "D", color=look.color, markersize=7, markeredgecolor="white")
        extent += [*values, *interval]
        if label == results["baseline"]:
            style = {"linewidth": 1.2, "zorder": 1.5, "label": f"mean of {look.name}, {spread.mean:.2f} %"}
            axis.axvline(spread.mean, color=look.color, **style)
    axis.set_xlim(_draw_teachers(axis.axvline, results, min(extent), max(extent), _REACH))
    axis.set_yticks(range(len(looks)), [look.name for look in looks.values()])
    axis.set(ylim=(len(looks) - 0.5, -0.5), title="Test accuracy after the last epoch (%)")
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    _legend_below(figure, axis)
    return png(figure), "A dot for each seed; above them a diamond for their mean, and a bar for its 95 % interval."


def _cost(results: Json, looks: dict[str, _Look]) -> tuple[bytes, str]:
    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    axis = figure.add_subplot(title="Test accuracy after the last epoch (%)", xlabel="Minutes a run")
    axis.margins(0.1)
    texts, bars = [], []
    for label, look in looks.items():
        minutes = [run["summary"]["wall_seconds"] / 60 for run in runs_of(results, label)]
        middle, spread = np.median(minutes), statistics.spread(list(accuracies(results, label).values()))
        mean, deviation = spread.mean, spread.deviation or 0.0
        ends = [(middle, mean - deviation), (middle, mean + deviation)], [(min(minutes), mean), (max(minutes), mean)]
        for bar in ends:
            axis.plot(*zip(*bar, strict=True), color=look.color, linewidth=1)
        axis.plot(middle, mean, look.marker, color=look.color, markersize=7, markeredgecolor="white")
        texts.append(axis.annotate(look.name, (middle, mean), xytext=(0, 0), arrowprops=dict(_LEADER), **_BESIDE))
        bars += ends
    _place(axis, texts, bars)
    caption = "Mean accuracy with its sample deviation, over the median of the minutes that a run took with the range"
    return png(figure), f"{caption} of these."


def _place(axis: Axes, texts: Sequence[Annotation], bars: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Moves every text to the nearest place beside its point where it covers no bar and no other text."""
    figure = axis.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # Nothing may move after it is measured.
    taken = [Bbox(axis.transData.transform(bar)).padded(4) for bar in bars]
    frame = axis.get_window_extent()
    for text in texts:
        box = Text.get_window_extent(text)  # Without the line that leads to the point.
        for distance, (right, up) in itertools.product(_DISTANCES, _DIRECTIONS):
            pixels = right * (box.width / 2 + distance), up * (box.height / 2 + distance)
            moved = box.translated(*pixels)
            if frame.count_contains(moved.corners()) == 4 and not moved.count_overlaps(taken):
                break
        text.set_position([72 / figure.dpi * offset for offset in pixels])
        text.arrow_patch.set_visible(distance > _DISTANCES[0])
        taken.append(moved)
