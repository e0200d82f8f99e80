"""The report of one training run: its figures and a self-contained report.html.

Everything is read from the files in the workdir, so that a report can be written again at any time, without JAX.
"""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2

from rdd_jax.analysis import plots, reliability_diagram
from rdd_jax.analysis.plots import Json, Lines, method_keys
from rdd_jax.core import io
from rdd_jax.runs import layout

_TABLE_EPOCHS = 10
_HINT = "a report needs the workdir of a finished run"


def write(workdir: str | Path) -> Path:
    """Writes figures/*.png and report.html into a run's workdir.

    Args:
        workdir: of a finished run, with config.json and summary.json; metrics.jsonl, histograms.jsonl, reliability.json
            and teacher.json are read where they exist.

    Returns:
        The path of report.html.

    Raises:
        UserError: config.json or summary.json is missing, a file is damaged, or a JSON-lines file is so before its end.
    """
    workdir = Path(workdir)
    summary, config = (io.read_json(workdir / name, _HINT) for name in (layout.SUMMARY, layout.CONFIG))
    metrics = io.read_json_lines(workdir / layout.METRICS)
    histograms = io.read_json_lines(workdir / layout.HISTOGRAMS)

    pictures = plots.draw(metrics, histograms, (summary.get("teacher") or {}).get("accuracy"))
    if bins := _reliability(workdir):
        pictures["reliability"] = reliability_diagram.draw(bins)
    for name, (png, _) in pictures.items():
        io.write_bytes(workdir / "figures" / f"{name}.png", png)
    path = workdir / layout.REPORT
    io.write_bytes(path, _html(summary, config, metrics, pictures).encode())
    return path


def _reliability(workdir: Path) -> dict[str, Json]:
    """Reads the bins of confidence of student and teacher, as far as they were written."""
    student, teacher = (
        io.read_json(workdir / name, _HINT) if (workdir / name).exists() else {}
        for name in (layout.RELIABILITY, layout.TEACHER)
    )
    found = {"student": student, "teacher": teacher.get("reliability")}
    return {role: bins for role, bins in found.items() if bins}


def _html(summary: Json, config: Json, metrics: Lines, pictures: dict[str, tuple[bytes, str]]) -> str:
    loader = jinja2.PackageLoader("rdd_jax.analysis")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent, share=_share)
    epochs: dict[int, Json] = {}
    for line in metrics:
        epochs.setdefault(line["epoch"], {"train": {}, "test": {}})[line["split"]] = line
    return environment.get_template("report.html.j2").render(
        summary=summary,
        wall_time=timedelta(seconds=round(summary["wall_seconds"])),
        ratio=lambda a, b: a / b if a and b else None,
        epochs=sorted(epochs.items())[-_TABLE_EPOCHS:],
        method_keys=method_keys(metrics),
        settings=_settings(config),
        pictures=[(base64.b64encode(png).decode(), caption) for png, caption in pictures.values()],
    )


def _without_unused_methods(config: Json) -> Json:
    """Returns the configuration without the methods whose weight is 0."""
    methods = config.get("distill", {})
    return {**config, "distill": {name: method for name, method in methods.items() if method["weight"]}}


def _settings(config: Json) -> list[tuple[str, str]]:
    """Returns the keys and values of the configuration as text, without unused methods."""
    leaves = io.flatten(_without_unused_methods(config))
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in leaves]


def _number(value: Any) -> str:
    """Formats a count in full, a measurement to four digits, and a missing value as a dash."""
    if not isinstance(value, int | float):
        return "–"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:#.4g}"


def _percent(value: Any) -> str:
    return f"{value:.2f} %" if isinstance(value, int | float) else "–"


def _share(value: Any) -> str:
    """Formats a value in [0, 1] in percent."""
    return _percent(100 * value if isinstance(value, int | float) else value)
