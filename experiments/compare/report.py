"""A comparison's results as text, as a page, and as figures: what was compared, how they fared, what can be said.

Everything is made from results.json alone, as `experiments.compare` writes it.
"""

import base64
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np

from experiments.compare import notes, plots, statistics
from experiments.compare import published as papers
from experiments.compare.plots import Pictures
from experiments.compare.results import Json, accuracies, means, runs_of, teachers
from rdd_jax.core import io
from rdd_jax.runs import layout

_NONE = "–"


def write(folder: Path, results: Json, published: Mapping[str, Mapping[int, float]] | None = None) -> Path:
    """Writes report.md, report.html and figures/*.png into a folder.

    Args:
        folder: is made if need be; a report that is there is replaced.
        results: as results.json has them.
        published: the test accuracy in percent of others' single runs, by method and epoch, to be drawn too.

    Returns:
        The path of report.html.
    """
    pictures = plots.draw(results, published or {})
    for name, (png, _) in pictures.items():
        io.write_bytes(folder / "figures" / f"{name}.png", png)
    shown = "".join(f"\n![{name}](figures/{name}.png)\n\n{caption}\n" for name, (_, caption) in pictures.items())
    io.write_text(folder / "report.md", markdown(results) + shown)
    io.write_text(folder / layout.REPORT, _html(results, pictures))
    return folder / layout.REPORT


def markdown(results: Json) -> str:
    """The comparison in words and tables: what was compared, accuracies, verdicts, cost, what is missing."""
    command = textwrap.indent(results["command"], "    ")
    parts = [f"# Comparison on {results['preset']}", f"{_literal(_setting(results))}.", command]
    parts += [_literal(notes.source(results)), "## Accuracy", notes.accuracy_note(results)]
    parts += [accuracy_table(results)]
    parts += [papers.NOTE] if _has_published(results) else []
    parts += [_literal(notes.conditions(results))]
    parts += ["\n".join(f"- {_literal(sentence)}" for sentence in verdicts(results))]
    if results["runs"]:
        note = notes.cost_note(_cost_rows(results)[0])
        parts += ["## Cost, and likeness to the teacher", note, cost_table(results)]
    parts += ["## Missing", _literal(missing(results))] if missing(results) else []
    return "\n\n".join(filter(None, parts)) + "\n"


def accuracy_table(results: Json) -> str:
    """The Markdown table of accuracies: a row for each label in the order asked for, and one for each teacher."""
    return _table(_accuracy_rows(results))


def cost_table(results: Json) -> str:
    """The Markdown table of time, minings and measures, without the columns that would be empty."""
    return _table(_cost_rows(results))


def verdicts(results: Json) -> list[str]:
    """A sentence for every label but the baseline: whether it differs from it, and by how much."""
    return [statistics.sentence(difference, results["baseline"]) for difference in _differences(results).values()]


def missing(results: Json) -> str:
    """A sentence naming the runs that were asked for and are not finished; empty where all are."""
    gaps = {label: set(results["seeds"]) - accuracies(results, label).keys() for label in results["labels"]}
    named = "; ".join(f"{label} at {_seeds(sorted(seeds))}" for label, seeds in gaps.items() if seeds)
    count, total = sum(map(len, gaps.values())), len(gaps) * len(results["seeds"])
    return f"{count} of the {total} runs asked for are not finished, and in no table here: {named}." if named else ""


def _setting(results: Json) -> str:
    """Networks, accuracies, epochs, seeds and device, as far as the finished runs tell."""
    summaries = [run["summary"] for run in results["runs"]]
    if not summaries:
        return f"No run is finished of {', '.join(results['labels'])} at {_seeds(results['seeds'])}"
    taught = ", ".join(f"{name} ({_mean(values)} %)" for name, values in teachers(results).items())
    taught += " -> " if taught else ""
    students = ", ".join(dict.fromkeys(summary["student"]["name"] for summary in summaries))
    ordered = sorted(means(results).values()) or [math.nan]
    reached = " to ".join(dict.fromkeys((f"{ordered[0]:.2f}", f"{ordered[-1]:.2f}")))
    epochs = " or ".join(str(count) for count in sorted({summary["epochs"] for summary in summaries}))
    return (
        f"{taught}{students} ({reached} %): {', '.join(results['labels'])}; "
        f"{epochs} epochs, {_seeds(results['seeds'])}, on {results['device']}"
    )


def _differences(results: Json) -> dict[str, statistics.Difference]:
    by_label = {label: accuracies(results, label) for label in results["labels"]}
    return statistics.differences(by_label, results["baseline"])


def _accuracy_rows(results: Json) -> list[dict[str, str]]:
    differences, baseline = _differences(results), results["baseline"]
    rows, asked = [], len(results["seeds"])
    for label in results["labels"]:
        runs, difference = runs_of(results, label), differences.get(label)
        last = [run["summary"]["student"]["accuracy"] for run in runs]
        interval = statistics.spread(last).interval
        rows.append(
            {
                "method": label,
                "seeds": str(asked) if len(runs) == asked else f"{len(runs)} of {asked}",
                "last epoch": _mean(last),
                "95 % interval": "{:.2f} to {:.2f}".format(*interval) if interval else _NONE,
                "best epoch": _mean([run["summary"]["student"]["best_accuracy"] for run in runs]),
                f"against {baseline}": f"{difference.mean:+z.2f}" if difference and difference.pairs else _NONE,
                "p (Holm)": _p_value(difference.adjusted if difference else None),
                "published": papers.ACCURACIES.get(papers.usual_name(label), _NONE),
            }
        )
    for name, values in teachers(results).items():
        own = {"method": f"teacher {name}", "last epoch": _mean(values), "published": papers.TEACHER_ACCURACY}
        rows.append(dict.fromkeys(rows[0], _NONE) | own)
    columns = [name for name in rows[0] if name != "published" or _has_published(results)]
    return [{name: row[name] for name in columns} for row in rows]


def _has_published(results: Json) -> bool:
    """Whether all that is finished is of the networks in the papers' tables."""
    students = {run["summary"]["student"]["name"] for run in results["runs"]}
    networks = students <= {papers.STUDENT} and teachers(results).keys() <= {papers.TEACHER}
    return results["preset"] == papers.PRESET and networks


def _cost_rows(results: Json) -> list[dict[str, str]]:
    rows = [{"method": label} | _costs(results, runs_of(results, label)) for label in results["labels"]]
    columns = [name for name in rows[0] if any(row[name] != _NONE for row in rows)]
    return [{name: row[name] for name in columns} for row in rows]


def _costs(results: Json, runs: Sequence[Json]) -> dict[str, str]:
    mining = [run for run in runs if run["minings"]]
    row = {
        "minutes a run": _median([run["summary"]["wall_seconds"] / 60 for run in runs], 2),
        "of them compiling": _median([run["summary"].get("compile_seconds", math.nan) / 60 for run in runs], 2),
        "minings": _median([run["minings"] for run in mining], 0),
        "seconds mining": _median([run["mine_seconds"] for run in mining], 1),
    }
    for name, key in (("CKA", "cka"), ("rank agreement", "rank_agreement"), ("neighbours shared", "neighbors_shared")):
        row[name] = _mean([run["measures"][key] for run in runs if key in run["measures"]], 3)
    measured = [run["measures"] for run in results["runs"] if "transfer" in run["measures"]]
    for dataset in dict.fromkeys(measures["transfer_dataset"] for measures in measured):
        own = [run["measures"] for run in runs if run["measures"].get("transfer_dataset") == dataset]
        row[f"transfer to {dataset}"] = _mean([measures["transfer"] for measures in own])
    return row


def _html(results: Json, pictures: Pictures) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    costs = _cost_rows(results) if results["runs"] else []
    return environment.get_template("comparison.html.j2").render(
        preset=results["preset"],
        setting=_setting(results).replace("->", "→"),
        command=results["command"],
        cards=_cards(results),
        source=notes.source(results),
        accuracy_note=notes.accuracy_note(results),
        conditions=notes.conditions(results),
        accuracies=_accuracy_rows(results),
        published_note=papers.NOTE if _has_published(results) else "",
        verdicts=verdicts(results),
        cost_note=notes.cost_note(costs[0]) if costs else "",
        costs=costs,
        missing=missing(results),
        pictures=[(base64.b64encode(png).decode(), caption) for png, caption in pictures.values()],
    )


def _cards(results: Json) -> list[tuple[str, str, str]]:
    """The numbers to see first: what each is, its value, a remark."""
    cards, by_label, baseline = [], means(results), results["baseline"]
    first = max(by_label, key=by_label.get, default=baseline)
    if first != baseline:
        difference = _differences(results)[first]
        relation = "from" if difference.verdict == "not distinguishable" else "than"
        remark = f"{first}, {difference.verdict} {relation} {baseline}" if difference.pairs else first
        cards.append(("Highest mean", f"{by_label[first]:.2f} %", remark))
    if baseline in by_label:
        remark = f"{baseline}, and no mean is higher" if first == baseline and len(by_label) > 1 else baseline
        cards.append(("Baseline", f"{by_label[baseline]:.2f} %", remark))
    cards += [("Teacher", f"{_mean(values)} %", name) for name, values in teachers(results).items()]
    asked = len(results["labels"]) * len(results["seeds"])
    return [*cards, ("Runs finished", f"{len(results['runs'])} of {asked}", _seeds(results["seeds"]))]


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(map(_literal, row))} |" for row in cells)


def _literal(text: str) -> str:
    """Text in which Markdown finds neither a tag nor a table's column."""
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text).replace("|", r"\|")


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _mean(values: Sequence[float], decimals: int = 2) -> str:
    """With the sample deviation, where there is one."""
    spread = statistics.spread(values)
    if not spread.count:
        return _NONE
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.{decimals}f}"
    return f"{spread.mean:.{decimals}f}{deviation}"


def _median(values: Sequence[float], decimals: int) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{np.median(known):.{decimals}f}" if known else _NONE


def _p_value(value: float | None) -> str:
    if value is None:
        return _NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
