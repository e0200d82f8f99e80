"""Measures how stale a mined contrast table becomes: the share of its hard negatives that would be mined again.

    python -m experiments.compare --preset=cifar100_small --methods=rdd --vary=mining.kind=every,once,adaptive \\
        --seeds=3 --config.keep_all_checkpoints=True --out=DIR
    python -m experiments.staleness DIR/runs/rdd-* --out=DIR/staleness

At the end of each epoch the whole training set is mined with that epoch's student, and the result is compared with the
table in use; the run itself is not changed. Writes staleness.json, staleness.md and staleness.png into --out. The
measurement of a run is saved in its workdir and not repeated.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import jax
import matplotlib
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.compare.runner import MINING_SECONDS
from experiments.compare.tables import format_mean
from rdd_jax.analysis import plots
from rdd_jax.cli.exit_codes import exit_code, leave
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.rdx import ContrastTable
from rdd_jax.runs import layout, records
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.setup import Experiment, build

_COLORS = {"once": "#D55E00", "every": "#0072B2", "adaptive": "#009E73"}
_FILE = "staleness.json"
_HEADER = (
    "mining.kind",
    "seeds",
    "overlap",
    "lowest overlap",
    "minings",
    "seconds mining",
    "last epoch",
    "best epoch",
)


class Staleness(TypedDict):
    """The measurement of a run.

    Attributes:
        workdir: its name.
        kind: `mining.kind` of the run.
        accuracy: after the last epoch, in percent; best_accuracy: of the best epoch.
        epochs: from that of the first mining to the last, counted from 1.
        overlap: for each of `epochs`, the mean share of an image's hard negatives that would be mined again at its end.
        confusion_correlation: for each of `epochs`, Pearson's, between the confusion in use and that of a new mining.
        mined_before: the epochs at whose start the table was mined.
        seconds: spent in the run on minings, on embeddings for them, and on measuring drift.
    """

    workdir: str
    kind: str
    seed: int
    accuracy: float
    best_accuracy: float
    epochs: list[int]
    overlap: list[float]
    confusion_correlation: list[float]
    mined_before: list[int]
    seconds: dict[str, float]


def load_or_measure(workdir: Path) -> Staleness:
    """Reads the saved measurement of a run, or measures and saves it. Errors of `measure`."""
    path = workdir / _FILE
    if not path.exists():
        io.write_json(path, measure(workdir))
    return io.read_json(path, "delete it, and the same command measures again")


def measure(workdir: Path) -> Staleness:
    """Measures the staleness of a finished run's table at the end of every epoch.

    Raises:
        UserError: the run is not finished, its method does not mine, or a checkpoint is missing.
    """
    if not records.is_finished(workdir):
        raise UserError(f"there is no finished run in {workdir}: train it first")
    config, summary = records.read_config(workdir), records.read_summary(workdir)
    lines = [line for line in io.read_json_lines(workdir / layout.METRICS) if line["split"] == "train"]
    mined = [line["epoch"] for line in lines if "mine_seconds" in line]
    if not mined:
        raise UserError(f"the run in {workdir} has mined nothing: give a run of a method that mines")
    epochs = range(mined[0], config.epochs + 1)
    found = _compare(build(config, workdir), config.seed, workdir, epochs)
    seconds = {key.removesuffix("_seconds"): sum(line.get(key, 0.0) for line in lines) for key in MINING_SECONDS}
    return {
        "workdir": workdir.name,
        "kind": config.mining.kind,
        "seed": config.seed,
        "accuracy": summary["student"]["accuracy"],
        "best_accuracy": summary["student"]["best_accuracy"],
        "epochs": list(epochs),
        "overlap": [overlap for overlap, _ in found],
        "confusion_correlation": [correlation for _, correlation in found],
        "mined_before": mined,
        "seconds": seconds,
    }


def _compare(experiment: Experiment, seed: int, workdir: Path, epochs: Sequence[int]) -> list[tuple[float, float]]:
    """Compares the table in use with a new one at the end of each epoch; returns those of `compare_tables`."""
    shapes = jax.eval_shape(experiment.init, seed)
    embed = experiment.make_embed(experiment.student)
    teacher = experiment.make_embed(experiment.teacher.network)(experiment.teacher.variables, experiment.train)
    found = []
    with Checkpoints(workdir, keep_all=True) as checkpoints:
        steps = [experiment.epoch_starts[epoch] for epoch in epochs]
        if missing := set(steps) - set(checkpoints.steps()):
            raise UserError(
                f"{workdir} lacks the checkpoints of {len(missing)} epochs: train it with "
                "--config.keep_all_checkpoints=True"
            )
        for step in tqdm.tqdm(steps, desc=workdir.name, unit="epoch"):
            state = checkpoints.restore(shapes, step)
            fresh = experiment.mine(state, embed(state.student, experiment.train), teacher)
            found.append(compare_tables(_table(state), _table(fresh)))
    return found


def _table(state: TrainState) -> ContrastTable:
    leaves = jax.tree.leaves(state.distiller_state, is_leaf=lambda node: isinstance(node, ContrastTable))
    return next(leaf for leaf in leaves if isinstance(leaf, ContrastTable))


def compare_tables(used: ContrastTable, fresh: ContrastTable) -> tuple[float, float]:
    """Returns the mean share of an image's negatives that are in both tables, and the correlation of the confusion."""
    pairs = zip(np.asarray(used.negatives), np.asarray(fresh.negatives), strict=True)
    shared = [len(np.intersect1d(old, new)) / len(old) for old, new in pairs]
    return float(np.mean(shared)), float(np.corrcoef(used.confusion, fresh.confusion)[0, 1])


def table(measured: Sequence[Staleness]) -> str:
    """Formats a Markdown table with a row for each kind of mining: means over the seeds ± sample deviation."""
    rows = [_HEADER, ["---"] * len(_HEADER)]
    for kind, group in _by_kind(measured).items():
        rows.append(
            [
                f"`{kind}`",
                str(len(group)),
                format_mean([100 * float(np.mean(run["overlap"])) for run in group], 0) + " %",
                f"{100 * min(min(run['overlap']) for run in group):.0f} %",
                format_mean([len(run["mined_before"]) for run in group], 1),
                format_mean([sum(run["seconds"].values()) for run in group], 0),
                format_mean([run["accuracy"] for run in group]),
                format_mean([run["best_accuracy"] for run in group]),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _by_kind(measured: Sequence[Staleness]) -> dict[str, list[Staleness]]:
    kinds = dict.fromkeys(run["kind"] for run in measured)
    return {kind: [run for run in measured if run["kind"] == kind] for kind in kinds}


def draw(measured: Sequence[Staleness]) -> bytes:
    """Draws the overlap by epoch as a PNG: thin lines for seeds, thick lines for their mean, ticks for minings."""
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axes, ticks = figure.subplots(2, height_ratios=(5, 1), sharex=True)
        kinds = _by_kind(measured)
        for row, (kind, group) in enumerate(kinds.items()):
            color = _COLORS[kind]
            # The epochs that all seeds have measured.
            first = max(run["epochs"][0] for run in group)
            epochs = range(first, group[0]["epochs"][-1] + 1)
            lines = np.array([run["overlap"][first - run["epochs"][0] :] for run in group])
            axes.plot(epochs, lines.T, color=color, linewidth=0.7, alpha=0.4)
            axes.plot(epochs, lines.mean(axis=0), color=color, label=kind)
            for offset, run in enumerate(group):
                height = row + (offset + 1) / (len(group) + 1)
                ticks.plot(run["mined_before"], [height] * len(run["mined_before"]), "|", color=color, markersize=6)
        axes.set(title="Hard negatives that would be mined again", ylim=(0, 1), ylabel="share")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=len(kinds))
        ticks.set(yticks=np.arange(len(kinds)) + 0.5, yticklabels=kinds, ylim=(len(kinds), 0), xlabel="Epoch")
        ticks.set_title("Mined at the start of epoch", fontsize="medium")
        ticks.grid(False)
        return plots.png(figure)


def main() -> int:
    """Measures the runs given on the command line and writes the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", type=Path, nargs="+", help="finished runs with all their checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    arguments = parser.parse_args()

    def work() -> int:
        measured = [load_or_measure(workdir) for workdir in arguments.workdirs]
        io.write_text(arguments.out / _FILE, json.dumps(measured) + "\n")
        io.write_text(arguments.out / "staleness.md", table(measured) + "\n")
        io.write_bytes(arguments.out / "staleness.png", draw(measured))
        print(table(measured))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    leave(main())
