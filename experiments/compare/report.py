"""Writes the report of a comparison, from results.json alone: report.md, report.html and a figure."""

import base64
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from experiments.compare import notes, plots, published, tables
from experiments.compare.results import Results, accuracies, means, teachers
from experiments.compare.verdicts import sentence
from rdd_jax.core import io
from rdd_jax.runs import layout

_FIGURE = "accuracies.png"


def write(folder: Path, results: Results, curves: Mapping[str, Mapping[int, float]] | None = None) -> Path:
    """Writes report.md, report.html and accuracies.png.

    Args:
        folder: created if needed; an older report in it is replaced.
        results: the content of results.json.
        curves: published test accuracies in percent by method and epoch, drawn beside the measured ones.

    Returns:
        The path of report.html.
    """
    figure = plots.draw(results, curves or {}) if means(results) else None
    text = markdown(results)
    if figure:
        io.write_bytes(folder / _FIGURE, figure)
        text += f"\n![Test accuracies]({_FIGURE})\n\n{plots.CAPTION}\n"
    io.write_text(folder / "report.md", text)
    io.write_text(folder / layout.REPORT, _html(results, figure))
    return folder / layout.REPORT


def markdown(results: Results) -> str:
    """Returns the report without its figure: setting, accuracies, verdicts, calibration, cost, and missing runs."""
    command = textwrap.indent(results["command"], "    ")
    parts = [f"# Comparison on {results['preset']}", f"{tables.escape(_setting(results))}.", command]
    parts += [tables.escape(notes.versions(results)), "## Accuracy", notes.accuracy_note(results)]
    parts += [tables.accuracy_table(results), published.NOTE if tables.has_published(results) else ""]
    parts += [tables.escape(notes.conditions(results))]
    parts += ["\n".join(f"- {tables.escape(verdict)}" for verdict in verdicts(results))]
    if tables.calibration_rows(results):
        parts += ["## Calibration", notes.CALIBRATION, tables.calibration_table(results)]
    if results["runs"]:
        columns = tables.cost_rows(results)[0]
        parts += ["## Cost and similarity to the teacher", notes.cost_note(columns), tables.cost_table(results)]
    if gaps := missing(results):
        parts += ["## Missing", tables.escape(gaps)]
    return "\n\n".join(filter(None, parts)) + "\n"


def verdicts(results: Results) -> list[str]:
    """Returns a sentence for every label but the baseline: whether it differs from the baseline, and by how much."""
    differences = tables.compare_to_baseline(results)
    return [sentence(difference, results["baseline"]) for difference in differences.values()]


def missing(results: Results) -> str:
    """Returns a sentence naming the runs that were asked for and are not over; empty where all are."""
    gaps = {label: set(results["seeds"]) - accuracies(results, label).keys() for label in results["labels"]}
    named = "; ".join(f"{label} at {_seeds(sorted(seeds))}" for label, seeds in gaps.items() if seeds)
    count, total = sum(map(len, gaps.values())), len(gaps) * len(results["seeds"])
    return f"{count} of the {total} runs are not finished and not in the tables: {named}." if named else ""


def _setting(results: Results) -> str:
    """Returns networks, accuracies, epochs, seeds and device of the runs."""
    labels, seeds = ", ".join(results["labels"]), _seeds(results["seeds"])
    summaries = [run["summary"] for run in results["runs"]]
    if not summaries:
        return f"No run is finished of {labels} at {seeds}"
    taught = ", ".join(f"{name} ({tables.format_mean(values)} %)" for name, values in teachers(results).items())
    students = ", ".join(dict.fromkeys(summary["student"]["name"] for summary in summaries))
    ordered = sorted(means(results).values())
    reached = " to ".join(dict.fromkeys(f"{mean:.2f}" for mean in (ordered[:1] + ordered[-1:])))
    epochs = " or ".join(str(count) for count in sorted({summary["epochs"] for summary in summaries}))
    networks = f"{taught}{' -> ' if taught else ''}{students}{f' ({reached} %)' if reached else ''}"
    return f"{networks}: {labels}; {epochs} epochs, {seeds}, on {results['device']}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _html(results: Results, figure: bytes | None) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    costs = tables.cost_rows(results) if results["runs"] else []
    return environment.get_template("comparison.html.j2").render(
        preset=results["preset"],
        setting=_setting(results),
        command=results["command"],
        versions=notes.versions(results),
        accuracy_note=notes.accuracy_note(results),
        accuracies=tables.accuracy_rows(results),
        published_note=published.NOTE if tables.has_published(results) else "",
        conditions=notes.conditions(results),
        verdicts=verdicts(results),
        calibration_note=notes.CALIBRATION,
        calibrations=tables.calibration_rows(results),
        cost_note=notes.cost_note(costs[0]) if costs else "",
        costs=costs,
        missing=missing(results),
        figure=base64.b64encode(figure).decode() if figure else "",
        caption=plots.CAPTION,
    )
