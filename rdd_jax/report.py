"""The report of one training run: its figures and a self-contained report.html.

Everything is read from the files the run left in its workdir, so a report can be drawn again at any time, without JAX.
"""

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from rdd_jax import files

# Okabe and Ito's palette: told apart under every common colour blindness.
_BLUE, _ORANGE, _RED, _INK = "#0072B2", "#E69F00", "#D55E00", "#333333"
_TERM_COLORS = (_INK, "#009E73", "#CC79A7", "#56B4E9", _RED, _BLUE, _ORANGE)
_STYLE = {
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
_TABLE_EPOCHS = 10
Json = dict[str, Any]
Lines = Sequence[Json]


def write(workdir: str | Path) -> Path:
    """Writes figures/*.png and report.html into a run's workdir.

    Args:
        workdir: holds the run's config.json and summary.json and, as far as it has them, metrics.jsonl and
            histograms.jsonl.

    Returns:
        The path of report.html.

    Raises:
        ValueError: config.json or summary.json is missing or damaged, or a JSON-lines file is damaged before its end.
    """
    workdir = Path(workdir)
    summary = _read_object(workdir / files.SUMMARY)
    config = _read_object(workdir / files.CONFIG)
    metrics = files.read_lines(workdir / files.METRICS)
    histograms = files.read_lines(workdir / files.HISTOGRAMS)

    with matplotlib.rc_context(_STYLE):
        pictures = _draw(metrics, histograms, (summary.get("teacher") or {}).get("accuracy"))
    for name, (png, _) in pictures.items():
        files.write_bytes(workdir / "figures" / f"{name}.png", png)
    path = workdir / files.REPORT
    files.write_bytes(path, _html(summary, config, metrics, pictures).encode())
    return path


def _read_object(path: Path) -> Json:
    try:
        return {**json.loads(path.read_bytes())}
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: a report needs the workdir of a finished run") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a JSON object: {error}") from None


# ---- Figures


def _draw(metrics: Lines, histograms: Lines, teacher_accuracy: float | None) -> dict[str, tuple[bytes, str]]:
    """PNGs with their captions, by file name."""
    pictures = {"curves": _curves(metrics, teacher_accuracy)}
    for name in dict.fromkeys(line["name"] for line in histograms):
        minings = [line for line in histograms if line["name"] == name and _drawable(line)]
        if minings:
            short = re.sub(r"[^\w-]", "_", name.rpartition("/")[2])
            # Two methods may mine a quantity of the same name; the second then keeps its prefix.
            pictures[short if short not in pictures else re.sub(r"[^\w-]", "_", name)] = _ridgeline(name, minings)
    return pictures


def _drawable(histogram: Json) -> bool:
    return sum(histogram["counts"]) > 0 and 0 < histogram["edges"][-1] - histogram["edges"][0] < math.inf


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()


def _curves(metrics: Lines, teacher_accuracy: float | None) -> tuple[bytes, str]:
    terms = [key for key in _method_keys(metrics) if key.endswith("/loss")]
    # A lone term is the loss itself, already drawn.
    side = ("loss", "terms", "rate") if len(terms) > 1 else ("loss", "rate")
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    axes = figure.subplot_mosaic([["accuracy", panel] for panel in side], width_ratios=(3, 2), sharex=True)
    axes["accuracy"].set_xlim(0, max([1, *(line["epoch"] for line in metrics)]) + 0.5)

    for split, color in (("train", _ORANGE), ("test", _BLUE)):
        _plot(axes["accuracy"], metrics, split, "accuracy", color=color, label=split)
        _plot(axes["loss"], metrics, split, "loss", color=color, label=split)
    if teacher_accuracy is not None:
        axes["accuracy"].axhline(teacher_accuracy, color=_INK, linestyle=_DASHES, linewidth=1.2, label="teacher, test")
    for i, key in enumerate(terms if "terms" in axes else ()):
        label = key.removesuffix("/loss").replace("$", r"\$")
        _plot(axes["terms"], metrics, "train", key, color=_TERM_COLORS[i % len(_TERM_COLORS)], label=label)
    _plot(axes["rate"], metrics, "train", "learning_rate", color=_INK, drawstyle="steps-mid")

    titles = {"accuracy": "Accuracy (%)", "loss": "Loss", "terms": "Loss terms", "rate": "Learning rate"}
    for panel, axis in axes.items():
        _finish(axis, titles[panel], "Epoch" if panel in ("accuracy", "rate") else "")
    caption = "Accuracy, loss and learning rate after each epoch; in training the loss is the whole objective, in the "
    return _png(figure), f"{caption}test it is the cross-entropy."


def _plot(axis: Axes, metrics: Lines, split: str, key: str, **style: Any) -> None:
    points = [(line["epoch"], line[key]) for line in metrics if line["split"] == split and key in line]
    if points:
        epochs, values = np.array(points, dtype=float).T
        # A line alone would not show a lone point, or one between NaNs.
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
    elif labels:  # beside the title, where it hides no curve
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=len(labels))


def _ridgeline(name: str, minings: Lines) -> tuple[bytes, str]:
    picked = np.unique(np.linspace(0, len(minings) - 1, _MAX_RIDGES).round().astype(int))
    shown = [minings[i] for i in picked]
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
    axis.set(ylabel="Epoch", ylim=(rows[-1] - 0.3, 1.75), xlabel=name.replace("$", r"\$"))
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    if name.endswith("/confusion"):
        axis.axvline(2, color=_INK, linestyle=_DASHES, linewidth=1)
        axis.set_xlabel("confusion $c_i$ = mean of $A_{01} + A_{10}$;  2 = teacher and student agree")
    _legend(axis)
    count = f"{len(shown)} of {len(minings)} minings" if len(shown) < len(minings) else "each mining"
    return _png(figure), f"{name} at {count} of the contrast table; every histogram is scaled to its own peak."


# ---- HTML


def _html(summary: Json, config: Json, metrics: Lines, pictures: dict[str, tuple[bytes, str]]) -> str:
    loader = jinja2.PackageLoader("rdd_jax")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent)
    epochs: dict[int, Json] = {}
    for line in metrics:
        epochs.setdefault(line["epoch"], {"train": {}, "test": {}})[line["split"]] = line
    return environment.get_template("report.html.j2").render(
        summary=summary,
        wall_time=timedelta(seconds=round(summary["wall_seconds"])),
        ratio=lambda a, b: a / b if a and b else None,
        epochs=sorted(epochs.items())[-_TABLE_EPOCHS:],
        method_keys=_method_keys(metrics),
        settings=_settings(config),
        pictures=[(base64.b64encode(png).decode(), caption) for png, caption in pictures.values()],
    )


def _method_keys(metrics: Lines) -> list[str]:
    return list(dict.fromkeys(key for line in metrics if line["split"] == "train" for key in line if "/" in key))


def _without_idle_methods(config: Json) -> Json:
    methods = config.get("distill", {})
    return {**config, "distill": {name: method for name, method in methods.items() if method["weight"]}}


def _settings(config: Json) -> list[tuple[str, str]]:
    """The configuration by dotted keys, without the methods that are off."""
    leaves = files.flatten(_without_idle_methods(config))
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in leaves]


def _number(value: Any) -> str:
    """A count in full, a measurement to four digits, a dash for what was not recorded."""
    if not isinstance(value, int | float):
        return "–"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:#.4g}"


def _percent(value: Any) -> str:
    return f"{value:.2f} %" if isinstance(value, int | float) else "–"
