"""How stale a mined table gets: which of an image's hard negatives would be mined again, epoch by epoch.

    python -m experiments.compare --preset=cifar100_small --methods=rdd --vary=mining.kind=every,once,adaptive \
        --seeds=3 --config.keep_all_checkpoints=True --out=DIR
    python -m experiments.staleness DIR/runs/rdd-* --out=DIR/staleness

After each epoch the whole training set is mined with the student of then, for the record alone, and compared with the
table that the student was trained by. Writes staleness.json, staleness.md and staleness.png into --out; what was found
in a run stays in its workdir, and is not measured again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.compare.grid import LOOKS
from rdd_jax.analysis import plots
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.rdx import ContrastTable
from rdd_jax.runs import layout, records
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training.setup import Experiment, build

_COLORS = {"once": "#D55E00", "every": "#0072B2", "adaptive": "#009E73"}
_FILE = "staleness.json"
_HEADER = ("refresh", "seeds", "overlap", "lowest", "minings", "seconds looking", "last epoch", "best epoch")


def kept(workdir: Path) -> dict[str, Any]:
    """What `measure` finds, now or before. Errors of `measure`."""
    path = workdir / _FILE
    if not path.exists():
        io.write_json(path, measure(workdir))
    return json.loads(path.read_text())


def measure(workdir: Path) -> dict[str, Any]:
    """How fresh the table of a finished run was at the end of each epoch.

    Returns:
        {"workdir", "kind", "seed", "accuracy", "best_accuracy": percent,
        "epochs": those from the first mining on, from 1,
        "overlap": the mean share of an image's hard negatives that would be mined again, for each of them,
        "confusion_correlation": Pearson's, between the confusion in use and that of then,
        "mined_before": the epochs before which the table was mined,
        "seconds": what minings, the embeddings for them and the looks at the drift took in the run}.

    Raises:
        UserError: where the run is not finished, does not mine, or has not kept its checkpoints.
    """
    if not records.is_finished(workdir):
        raise UserError(f"there is no finished run in {workdir}: train it first")
    config, summary = records.read_config(workdir), records.read_summary(workdir)
    lines = [line for line in io.read_json_lines(workdir / layout.METRICS) if line["split"] == "train"]
    mined = [line["epoch"] for line in lines if "mine_seconds" in line]
    if not mined:
        raise UserError(f"the run in {workdir} has mined nothing: give one of a method that mines")
    epochs = range(mined[0], config.epochs + 1)
    found = _compare(build(config, workdir), config.seed, workdir, epochs)
    return {
        "workdir": workdir.name,
        "kind": config.mining.kind,
        "seed": config.seed,
        "accuracy": summary["student"]["accuracy"],
        "best_accuracy": summary["student"]["best_accuracy"],
        "epochs": list(epochs),
        **{name: [values[name] for values in found] for name in ("overlap", "confusion_correlation")},
        "mined_before": mined,
        "seconds": {key.removesuffix("_seconds"): sum(line.get(key, 0.0) for line in lines) for key in LOOKS},
    }


def _compare(experiment: Experiment, seed: int, workdir: Path, epochs: Sequence[int]) -> list[dict[str, float]]:
    shapes = jax.eval_shape(experiment.init, seed)
    embed = experiment.embed(experiment.student)
    teacher = experiment.embed(experiment.teacher.model)(experiment.teacher.variables, experiment.train.images)
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
            fresh = experiment.mine(state, embed(state.student, experiment.train.images), teacher)
            found.append(compare_tables(_table(state), _table(fresh)))
    return found


def _table(state: TrainState) -> ContrastTable:
    leaves = jax.tree.leaves(state.distiller, is_leaf=lambda node: isinstance(node, ContrastTable))
    return next(leaf for leaf in leaves if isinstance(leaf, ContrastTable))


def compare_tables(used: ContrastTable, fresh: ContrastTable) -> dict[str, float]:
    """{"overlap": the mean share of an image's negatives that are in both, "confusion_correlation": Pearson's}."""
    pairs = zip(np.asarray(used.negatives), np.asarray(fresh.negatives), strict=True)
    shared = [len(np.intersect1d(ours, theirs)) / len(ours) for ours, theirs in pairs]
    correlation = np.corrcoef(used.confusion, fresh.confusion)[0, 1]
    return {"overlap": float(np.mean(shared)), "confusion_correlation": float(correlation)}


def table(measured: Sequence[dict[str, Any]]) -> str:
    """A Markdown table with a row for each kind: means over the seeds, ± the sample's deviation."""
    rows = [_HEADER, ["---"] * len(_HEADER)]
    for kind, group in _by_kind(measured).items():
        overlaps = [statistics.mean(run["overlap"]) for run in group]
        rows.append(
            [
                f"`{kind}`",
                str(len(group)),
                _spread([100 * overlap for overlap in overlaps], "{:.0f}") + " %",
                f"{100 * min(min(run['overlap']) for run in group):.0f} %",
                _spread([len(run["mined_before"]) for run in group], "{:.1f}"),
                _spread([sum(run["seconds"].values()) for run in group], "{:.0f}"),
                *(_spread([run[key] for run in group], "{:.2f}") for key in ("accuracy", "best_accuracy")),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _by_kind(measured: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [run for run in measured if run["kind"] == kind] for kind in dict.fromkeys(m["kind"] for m in measured)
    }


def _spread(values: Sequence[float], form: str) -> str:
    deviation = f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else ""
    return form.format(statistics.mean(values)) + deviation


def picture(measured: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: the overlap by epoch, a line for each kind with its seeds behind it, and a tick for each mining."""
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axis, ticks = figure.subplots(2, height_ratios=(5, 1), sharex=True)
        for row, (kind, group) in enumerate(_by_kind(measured).items()):
            color = _COLORS[kind]
            first = max(run["epochs"][0] for run in group)
            lines = np.array([run["overlap"][first - run["epochs"][0] :] for run in group])
            for line in lines:
                axis.plot(group[0]["epochs"][-len(line) :], line, color=color, linewidth=0.7, alpha=0.4)
            axis.plot(group[0]["epochs"][-lines.shape[1] :], lines.mean(axis=0), color=color, label=kind)
            for offset, run in enumerate(group):
                height = row + (offset + 1) / (len(group) + 1)
                ticks.plot(run["mined_before"], [height] * len(run["mined_before"]), "|", color=color, markersize=6)
        axis.set(title="Hard negatives that would be mined again", ylim=(0, 1), ylabel="share")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=3)
        kinds = list(_by_kind(measured))
        ticks.set(yticks=np.arange(len(kinds)) + 0.5, yticklabels=kinds, ylim=(len(kinds), 0), xlabel="Epoch")
        ticks.set_title("Mined before", fontsize="medium")
        ticks.grid(False)
        return plots.png(figure)


def main() -> int:
    """Measures the runs and writes what was found; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", type=Path, nargs="+", help="of finished runs with all their checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="where the files go")
    arguments = parser.parse_args()
    try:
        measured = [kept(workdir) for workdir in arguments.workdirs]
    except UserError as error:
        print(f"rdd_jax: {error}", file=sys.stderr)
        return 2
    io.write_text(arguments.out / _FILE, json.dumps(measured) + "\n")
    io.write_text(arguments.out / "staleness.md", table(measured) + "\n")
    io.write_bytes(arguments.out / "staleness.png", picture(measured))
    print(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
