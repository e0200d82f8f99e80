"""The figures of a training run, drawn from its metric log."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

# Okabe and Ito's palette: distinguishable under every common colour blindness.
_BLUE, _ORANGE, _RED, _GREEN, _INK = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#333333"
_TERM_COLORS = (_INK, _GREEN, "#CC79A7", "#56B4E9", _RED, _BLUE, _ORANGE)
STYLE = {
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.8,
}
_DASHES = (0, (5, 3))
_MAX_RIDGES = 30
Json = dict[str, Any]
Lines = Sequence[Json]


def draw(metrics: Lines, histograms: Lines, teacher_accuracy: float | None) -> dict[str, tuple[bytes, str]]:
    """Draws the figures of a run.

    Args:
        metrics: the lines of metrics.jsonl.
        histograms: the lines of histograms.jsonl.
        teacher_accuracy: in percent; None for a run without a teacher.

    Returns:
        {file name without ".png": (content of the PNG file, caption)}.
    """
    with matplotlib.rc_context(STYLE):
        return _draw(metrics, histograms, teacher_accuracy)


def method_keys(metrics: Lines) -> list[str]:
    """Returns the names of the methods' own metrics, "<method>/<name>"."""
    return list(dict.fromkeys(key for line in metrics if line["split"] == "train" for key in line if "/" in key))


def _draw(metrics: Lines, histograms: Lines, teacher_accuracy: float | None) -> dict[str, tuple[bytes, str]]:
    pictures = {"curves": _curves(metrics, teacher_accuracy)}
    if any("drift_pool" in line for line in metrics):
        pictures["drift"] = _drift(metrics, histograms)
    for name in dict.fromkeys(line["name"] for line in histograms):
        minings = [line for line in histograms if line["name"] == name and _drawable(line)]
        if minings:
            short = re.sub(r"[^\w-]", "_", name.rpartition("/")[2])
            # Two methods may have a quantity of the same name; the second one's file name keeps the method.
            pictures[short if short not in pictures else re.sub(r"[^\w-]", "_", name)] = _ridgeline(name, minings)
    return pictures


def _drawable(histogram: Json) -> bool:
    return sum(histogram["counts"]) > 0 and 0 < histogram["edges"][-1] - histogram["edges"][0] < math.inf


def png(figure: Figure) -> bytes:
    """Returns a figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()


def escape_mathtext(text: str) -> str:
    """Escapes text that matplotlib would otherwise typeset as mathematics."""
    return text.replace("$", r"\$")


def printable_names(class_names: Sequence[str]) -> list[str]:
    """Replaces names of classes by "class 3" and the like where they have characters that matplotlib's font lacks."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return [
        name if all(font.get_char_index(ord(character)) for character in name) else f"class {label}"
        for label, name in enumerate(class_names)
    ]


def truncated(text: str, length: int) -> str:
    """Shortens text to at most `length` characters, the last of them an ellipsis where some are omitted."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _curves(metrics: Lines, teacher_accuracy: float | None) -> tuple[bytes, str]:
    terms = [key for key in method_keys(metrics) if key.endswith("/loss")]
    # A single term is the loss itself, which has a panel already.
    side = ("loss", "terms", "rate") if len(terms) > 1 else ("loss", "rate")
    figure = Figure(figsize=(10, 6.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    mosaic: list[list[Any]] = [["accuracy", panel] for panel in side]
    axes = figure.subplot_mosaic(mosaic, width_ratios=[3, 2], sharex=True)
    axes["accuracy"].set_xlim(0, max([1, *(line["epoch"] for line in metrics)]) + 0.5)

    for split, color in (("train", _ORANGE), ("validation", _GREEN), ("test", _BLUE)):
        _plot(axes["accuracy"], metrics, split, "accuracy", color=color, label=split)
        _plot(axes["loss"], metrics, split, "loss", color=color, label=split)
    if teacher_accuracy is not None:
        axes["accuracy"].axhline(teacher_accuracy, color=_INK, linestyle=_DASHES, linewidth=1.2, label="teacher, test")
    for i, key in enumerate(terms if "terms" in axes else ()):
        label = escape_mathtext(key.removesuffix("/loss"))
        _plot(axes["terms"], metrics, "train", key, color=_TERM_COLORS[i % len(_TERM_COLORS)], label=label)
    _plot(axes["rate"], metrics, "train", "learning_rate", color=_INK, drawstyle="steps-mid")

    titles = {"accuracy": "Accuracy (%)", "loss": "Loss", "terms": "Loss terms", "rate": "Learning rate"}
    for panel, axis in axes.items():
        _finish(axis, titles[panel], "Epoch" if panel in ("accuracy", "rate") else "")
    caption = "Accuracy, loss and learning rate after each epoch; in training the loss is the whole objective, in the "
    return png(figure), f"{caption}test it is the cross-entropy."


def _drift(metrics: Lines, histograms: Lines) -> tuple[bytes, str]:
    """Draws the drift of the student since the last mining, measured before each epoch."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.add_subplot()
    for key, color, label in (("drift_pool", _BLUE, "hard negatives"), ("drift_confusion", _ORANGE, "confusion")):
        _plot(axis, metrics, "train", key, color=color, label=label)
    for i, epoch in enumerate(dict.fromkeys(line["epoch"] for line in histograms)):
        axis.axvline(epoch + 1, color=_RED, linestyle=_DASHES, linewidth=1, label=None if i else "mined")
    _finish(axis, "Drift since the last mining", "Epoch")
    axis.set(yscale="linear", ylim=(0, 1))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    return png(figure), (
        "Drift of the student from its contrast table before each epoch: the share of hard negatives that have been "
        "replaced, and the Kolmogorov-Smirnov distance of the confusion's distribution."
    )


def _plot(axis: Axes, metrics: Lines, split: str, key: str, **style: Any) -> None:
    points = [(line["epoch"], line[key]) for line in metrics if line["split"] == split and key in line]
    if points:
        epochs, values = np.array(points, dtype=float).T
        # A line without markers would not show a single point, or a point between NaNs.
        marker = "o" if np.isfinite(values).sum() <= 12 else None
        axis.plot(epochs, values, marker=marker, markersize=4, **style)


def _finish(axis: Axes, title: str, xlabel: str) -> None:
    axis.set(title=title, xlabel=xlabel)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    values = np.concatenate([[], *(np.asarray(line.get_ydata(), dtype=float) for line in axis.lines)])
    values = values[np.isfinite(values)]
    if not values.size:
        axis.text(0.5, 0.5, "no finite values", transform=axis.transAxes, ha="center", color="#777777")
        axis.yaxis.set_major_locator(NullLocator())
    elif values.min() > 0 and values.max() > 30 * values.min():
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0,) if values.max() > 300 * values.min() else (1.0, 3.0)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    _legend(axis)


def _legend(axis: Axes) -> None:
    labels = axis.get_legend_handles_labels()[1]
    if len(labels) > 4 or sum(map(len, labels)) > 22:
        axis.legend(loc="best", ncols=2, fontsize="small", frameon=True, edgecolor="white")
    elif labels:  # Beside the title, where it hides no curve.
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=len(labels))


def _ridgeline(name: str, minings: Lines) -> tuple[bytes, str]:
    chosen = np.unique(np.linspace(0, len(minings) - 1, _MAX_RIDGES).round().astype(int))
    shown = [minings[i] for i in chosen]
    figure = Figure(figsize=(9, 2.4 + 0.2 * len(shown)), layout="constrained")
    axis = figure.add_subplot()
    for row, mining in enumerate(shown):
        density = np.asarray(mining["counts"]) / np.diff(mining["edges"])
        shade = matplotlib.colormaps["Blues"](0.4 + 0.45 * (row + 1) / len(shown))
        style = {"facecolor": shade, "edgecolor": "white", "linewidth": 0.7, "zorder": 2 + row}
        axis.stairs(1.6 * density / density.max() - row, mining["edges"], baseline=-row, fill=True, **style)
    rows = -np.arange(len(shown))
    means = np.array([mining["mean"] for mining in shown], dtype=float)
    axis.plot(means, rows, "o-", color=_RED, markersize=4, linewidth=1, zorder=3 + len(shown), label="mean")

    every = math.ceil(len(shown) / 15)
    axis.set_yticks(rows[::every], [mining["epoch"] for mining in shown[::every]])
    axis.set(ylabel="Epoch", ylim=(rows[-1] - 0.3, 1.75), xlabel=escape_mathtext(name))
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    if name.endswith("/confusion"):
        axis.axvline(2, color=_INK, linestyle=_DASHES, linewidth=1)
        axis.set_xlabel("confusion $c_i$ = mean of $A_{01} + A_{10}$;  2 = teacher and student agree")
    _legend(axis)
    count = f"{len(shown)} of {len(minings)} minings" if len(shown) < len(minings) else "each mining"
    return png(figure), f"{name} at {count} of the contrast table; every histogram is scaled to its own peak."
