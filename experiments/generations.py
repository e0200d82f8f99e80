"""Trains born-again networks (Furlanello et al. 2018): generations of one network, each distilled from the one before.

    python -m experiments.generations --preset=cifar100_small --generations=3 --seeds=3

All generations have the student's network of the preset. The first is trained by configs/ce.py, without a teacher, and
each later one by configs/METHOD.py with the generation before as its teacher. The flags are those of
experiments.compare. Beside its report, ensembles.json and ensembles.md have the accuracy of the first 2, 3, ...
generations together, by the mean of their probabilities.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.compare import command_line, report, runner
from experiments.compare.grid import Point
from experiments.compare.results import dumps
from experiments.compare.tables import format_mean
from rdd_jax.cli import command_line as program
from rdd_jax.cli.exit_codes import exit_code, leave
from rdd_jax.core import io
from rdd_jax.data import loading
from rdd_jax.runs.trained_models import evaluate_on_test, load_teacher
from rdd_jax.training import config_checks

# {number of generations: {seed: accuracy in percent}}
Ensembles = dict[int, dict[int, float]]


def point(generation: int, seed: int, arguments: argparse.Namespace, overrides: Sequence[str], folder: Path) -> Point:
    """Makes the run of a generation, counted from 1.

    Raises:
        UserError: for a key or a method that does not exist.
    """
    method = arguments.method if generation > 1 else "ce"
    flags = [f"--config={method}:{arguments.preset}", *(f"--config.{key}" for key in overrides)]
    config = program.configuration(flags)
    before = folder / f"generation{generation - 1}-seed{seed}"
    teacher = {"teacher.name": config.student.name, "teacher.kwargs": dict(config.student.kwargs)}
    teacher |= {"teacher.checkpoint": str(before)} if generation > 1 else {"teacher.name": "", "teacher.kwargs": {}}
    workdir = folder / f"generation{generation}-seed{seed}"
    return Point(f"generation {generation}", seed, config.replaced({"seed": seed} | teacher), workdir)


def train(arguments: argparse.Namespace, overrides: Sequence[str], folder: Path) -> list[Point]:
    """Trains the generations one after the other, each at all seeds of this process's share; returns the runs of all.

    Raises:
        UserError: for a mistake in the flags, before anything is written.
    """
    seeds = list(range(arguments.seeds))[arguments.shard[0] - 1 :: arguments.shard[1]]
    points = []
    for generation in range(1, arguments.generations + 1):
        own = [point(generation, seed, arguments, overrides, folder) for seed in seeds]
        for each in own:
            config_checks.check(each.config, each.workdir, hint="choose another --out")
        runner.run(own)
        points += own
    return points


def ensembles(points: Sequence[Point]) -> Ensembles:
    """Evaluates the first 2, 3, ... generations of each seed together on the test images."""
    dataset = loading.load(points[0].config.data)
    found: Ensembles = {}
    for seed in sorted({each.seed for each in points}):
        generations = [each for each in points if each.seed == seed]
        for number in range(2, len(generations) + 1):
            members = ",".join(f"{each.config.student.name}@{each.workdir}" for each in generations[:number])
            several = {"teacher.members": members, "teacher.checkpoint": "", "teacher.combine_temperature": 1.0}
            together = load_teacher(generations[-1].config.replaced(several), generations[0].workdir)
            assert together is not None
            found.setdefault(number, {})[seed] = evaluate_on_test(together, dataset)["accuracy"]
    return found


def table(found: Ensembles) -> str:
    """Formats the accuracies of ensembles as a Markdown table."""
    rows = [f"| {number} | {len(of)} | {format_mean(list(of.values()))} |" for number, of in sorted(found.items())]
    return "\n".join(["| generations together | seeds | test accuracy (%) |", "| --- | --- | --- |", *rows, ""])


def main(flags: argparse.ArgumentParser) -> int:
    """Parses the command line, trains and writes the report; returns the exit code."""
    arguments, rest = flags.parse_known_args()
    folder = arguments.out or Path("runs") / f"generations-{arguments.preset}"

    def work() -> int:
        points = train(arguments, command_line.parse_overrides(rest), folder / "runs")
        labels = list(dict.fromkeys(each.label for each in points))
        command = f"python -m experiments.generations {shlex.join(sys.argv[1:])}"
        results = command_line.collect(points, labels[0], labels, arguments, command)
        io.write_text(folder / "results.json", dumps(results))
        found = ensembles(points)
        io.write_text(folder / "ensembles.json", json.dumps(found, indent=1))
        io.write_text(folder / "ensembles.md", table(found))
        print(f"report: {report.write(folder, results)}")
        return 0

    return exit_code(work)


if __name__ == "__main__":
    made = command_line.parser(__doc__)
    made.add_argument("--method", default="kd", help="of configs/METHOD.py, for all generations but the first")
    made.add_argument("--generations", type=command_line.positive, default=3, help="the number of generations")
    leave(main(made))
