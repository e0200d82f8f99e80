"""Which method, on my pair of networks, and is the difference real? Methods by seeds, from one command.

    python -m experiments.compare --preset=digits --methods=ce,kd,rkd,crd,rrd,rdd --seeds=5 --out=runs/compare-digits
    python -m experiments.compare --preset=cifar100_small --methods=rdd --vary=mining.kind=every,adaptive

All runs share a teacher, which is trained first in --out unless --config.teacher.checkpoint gives one. The same command
again goes on where it was stopped, and only reports when all is done. Methods are the files of configs/. Any key of the
configuration is an axis (--vary) or the same for all (--config.KEY=VALUE). --shard=i/n does every n-th run, so that
n processes or machines with a common folder share a grid; the last to finish reports all of it.

In --out: report.html, report.md, figures/, results.json, from which alone the report is made, and runs/, the workdirs.
"""

import argparse
import re

from experiments.compare import command_line, grid
from rdd_jax.core.errors import UserError
from rdd_jax.main import leave


def _axis(text: str) -> tuple[str, list[str]]:
    key, _, values = text.partition("=")
    values = re.split(r",(?![^()]*\))", values)  # Commas inside of a tuple are its own.
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
    flags.add_argument("--vary", type=_axis, action="append", default=[], metavar="KEY=V1,V2", help="an axis")
    leave(command_line.main(_rows, flags, "experiments.compare"))
