"""Compares methods over seeds, with the teacher shared by all runs.

    python -m experiments.compare --preset=digits --methods=ce,kd,rkd,crd,rrd,rdd --seeds=5 --out=runs/compare-digits
    python -m experiments.compare --preset=cifar100_small --methods=rdd --vary=mining.kind=every,adaptive

Methods are files of configs/. --vary compares the values of a configuration key, --config.KEY=VALUE sets a key for all
runs. The teacher is trained first, in --out, unless --config.teacher.checkpoint names one. The same command resumes an
interrupted comparison, and only writes the report when all runs are finished. --shard=i/n trains every n-th run, so
that n processes or machines with a common folder divide the runs; the last one to finish reports all of them.

Writes into --out: report.html, report.md, accuracies.png, results.json (from which the report is made), and runs/ with
the workdirs.
"""

import argparse
import re

from experiments.compare import command_line, grid
from rdd_jax.cli.exit_codes import leave
from rdd_jax.core.errors import UserError


def _axis(text: str) -> tuple[str, list[str]]:
    key, _, values = text.partition("=")
    values = re.split(r",(?![^()]*\))", values)  # Not at the commas of a tuple.
    if not key or not all(values):
        raise argparse.ArgumentTypeError(f'KEY=VALUE,VALUE,..., as in mining.kind=once,every, not "{text}"')
    return key, values


def _rows(arguments: argparse.Namespace) -> list[grid.Row]:
    axes = dict(arguments.vary)
    if len(axes) < len(arguments.vary):
        raise UserError("a key is varied twice: give all its values in one --vary")
    return grid.product(arguments.methods, axes)


if __name__ == "__main__":
    flags = command_line.parser(__doc__)
    flags.add_argument("--methods", type=lambda text: text.split(","), required=True, help="as in ce,kd,rdd,rdd_alone")
    flags.add_argument("--vary", type=_axis, action="append", default=[], metavar="KEY=V1,V2", help="values to compare")
    leave(command_line.main(_rows, flags, "experiments.compare"))
