"""The flags and the work that `experiments.compare` and `experiments.ablate` share."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.compare import grid, report, runner
from experiments.compare.published import read_curves
from experiments.compare.results import Results, dumps
from rdd_jax.cli.exit_codes import exit_code
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.data import loading

_RESULTS = "results.json"
_FIXED = "--config."


def parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser of the flags that every comparison has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--preset", default="digits", help="data set, networks and schedule: of rdd_jax.runs.presets")
    made.add_argument("--seeds", type=positive, default=3, help="the number of seeds: 0, 1, ...")
    made.add_argument("--out", type=Path, help="the folder of runs and report; runs/compare-PRESET by default")
    made.add_argument("--baseline", help="the row that the others are tested against; the first by default")
    made.add_argument("--shard", type=_shard, default=(1, 1), metavar="i/n", help="train every n-th run, from the i-th")
    made.add_argument("--curves", type=Path, help="a CSV of published curves (method,epoch,metric,value) to draw")
    return made


def main(
    make_rows: Callable[[argparse.Namespace], Sequence[grid.Row]], flags: argparse.ArgumentParser, module: str
) -> int:
    """Parses the command line and compares the rows that `make_rows` returns for it.

    Returns:
        The exit code.
    """
    arguments, rest = flags.parse_known_args()
    # The report names the command of the whole grid, whichever shard writes it.
    given = re.sub(r"--shard[ =]\S+ ?", "", shlex.join(sys.argv[1:])).strip()

    def work() -> int:
        path = compare(make_rows(arguments), arguments, parse_overrides(rest), f"python -m {module} {given}")
        print(f"report: {path}")
        return 0

    return exit_code(work)


def compare(rows: Sequence[grid.Row], arguments: argparse.Namespace, overrides: Sequence[str], command: str) -> Path:
    """Trains this process's share of the grid and writes the report of all finished runs.

    Returns:
        The path of the report.

    Raises:
        UserError: for a mistake in the arguments, before anything is written.
    """
    curves = read_curves(arguments.curves) if arguments.curves else None
    labels = [row.label for row in rows]
    baseline = arguments.baseline or labels[0]
    if baseline not in labels:
        raise UserError(f'there is no "{baseline}" in the comparison: --baseline is one of {", ".join(labels)}')
    folder = arguments.out or Path("runs") / f"compare-{arguments.preset}"
    points = grid.plan(
        rows, range(arguments.seeds), preset=arguments.preset, overrides=overrides, folder=folder / "runs"
    )
    io.check_writable(folder)
    runner.run(points, arguments.shard)
    results = collect(points, baseline, labels, arguments, command)
    io.write_text(folder / _RESULTS, dumps(results))
    return report.write(folder, results, curves)


def collect(
    points: Sequence[grid.Point], baseline: str, labels: list[str], arguments: argparse.Namespace, command: str
) -> Results:
    """Returns the results of the runs that are over."""
    runs, config = runner.collect(points), points[0].config
    devices = dict.fromkeys(run["summary"]["devices"] for run in runs)
    return {
        "command": command,
        "preset": arguments.preset,
        "dataset": loading.dataset_name(config.data),
        "test_images": loading.describe(config.data).num_test,
        "validation": config.data.validation if loading.has_validation(config.data) else 0.0,
        "baseline": baseline,
        "device": " and ".join(filter(None, devices)),
        "labels": labels,
        "seeds": list(range(arguments.seeds)),
        "runs": runs,
    }


def parse_overrides(rest: Sequence[str]) -> list[str]:
    """Returns "KEY=VALUE" of the flags --config.KEY=VALUE; raises UserError for any other flag."""
    for flag in rest:
        if not flag.startswith(_FIXED) or "=" not in flag:
            raise UserError(f'unexpected argument "{flag}": set a key for all runs by --config.KEY=VALUE')
    return [flag.removeprefix(_FIXED) for flag in rest]


def positive(text: str) -> int:
    """Returns the number above 0 that a flag gives."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f'a number above 0, not "{text}"')
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f'i/n with 1 <= i <= n, as in 2/4, not "{text}"')
    return int(match[1]), int(match[2])
