"""The command line that every comparison has."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.compare import grid, report, results_json
from experiments.compare.published import read_published
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.main import exit_code

_RESULTS = "results.json"
_FIXED = "--config."


def compare(rows: Sequence[grid.Row], arguments: argparse.Namespace, overrides: Sequence[str], command: str) -> Path:
    """Runs the grid of those rows, or this process's share of it, and writes the comparison of all that is finished.

    Returns:
        The path of the report.

    Raises:
        UserError: for a mistake of the user's, before anything is written.
    """
    published = read_published(arguments.curves) if arguments.curves else None
    labels = [row.label for row in rows]
    baseline = arguments.baseline or labels[0]
    if baseline not in labels:
        raise UserError(f'there is no "{baseline}" in the comparison: --baseline is one of {", ".join(labels)}')
    folder = arguments.out or Path("runs") / f"compare-{arguments.preset}"
    points = grid.plan(
        rows, range(arguments.seeds), preset=arguments.preset, overrides=overrides, folder=folder / "runs"
    )
    io.check_writable(folder)
    grid.run(points, arguments.shard)
    finished = grid.results(points)
    devices = dict.fromkeys(run["summary"]["devices"] for run in finished)
    results = {
        "command": command,
        "preset": arguments.preset,
        "dataset": loading.dataset_name(points[0].config.data),
        "test_images": loading.describe(points[0].config.data).num_test,
        "validation": points[0].config.data.validation if loading.has_validation(points[0].config.data) else 0.0,
        "baseline": baseline,
        "device": " and ".join(filter(None, devices)),
        "labels": labels,
        "seeds": list(range(arguments.seeds)),
        "runs": finished,
    }
    io.write_text(folder / _RESULTS, results_json.dumps(results))
    return report.write(folder, results, published)


def parser(description: str) -> argparse.ArgumentParser:
    """The flags that every grid has."""
    plain = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=description, formatter_class=plain, allow_abbrev=False)
    made.add_argument("--preset", default="digits", help="of rdd_jax.runs.presets")
    made.add_argument("--seeds", type=_positive, default=3, help="how many: 0, 1, ...")
    made.add_argument("--out", type=Path, help="where runs and report go; runs/compare-PRESET unless given")
    made.add_argument("--baseline", help="the row that the others are tested against; the first unless given")
    made.add_argument("--shard", type=_shard, default=(1, 1), metavar="i/n", help="every n-th run, from the i-th on")
    made.add_argument("--curves", type=Path, help="a CSV of published curves (method,epoch,metric,value), to draw too")
    return made


def main(rows_of, made: argparse.ArgumentParser, module: str) -> int:
    """Parses the command line, compares the rows that `rows_of` makes of it, and returns the exit code."""
    arguments, rest = made.parse_known_args()
    # Whoever reports, the command is that of the whole grid.
    flags = re.sub(r"--shard[ =]\S+ ?", "", shlex.join(sys.argv[1:])).strip()
    command = f"python -m {module} {flags}"

    def work() -> int:
        print(f"report: {compare(rows_of(arguments), arguments, _overrides(rest), command)}")
        return 0

    return exit_code(work)


def _overrides(rest: Sequence[str]) -> list[str]:
    for flag in rest:
        if not flag.startswith(_FIXED) or "=" not in flag:
            raise UserError(f'unexpected argument "{flag}": keys for all runs alike are set by --config.KEY=VALUE')
    return [flag.removeprefix(_FIXED) for flag in rest]


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f'a number above 0, not "{text}"')
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f'i/n with 1 <= i <= n, as in 2/4, not "{text}"')
    return int(match[1]), int(match[2])
