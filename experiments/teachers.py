"""Compares the students of single teachers with those of all of them together.

    python -m experiments.teachers --method=kd --members=NETWORK@CHECKPOINT,NETWORK@CHECKPOINT --seeds=3

The flags are those of experiments.compare; the default preset is cifar100_small. Every row distils by
configs/METHOD.py. The last row has all teachers at once, as `--config.teacher.members` does, and is the baseline.
"""

import argparse

from experiments.compare import command_line
from experiments.compare.grid import Row
from rdd_jax.cli.exit_codes import leave
from rdd_jax.core.errors import UserError
from rdd_jax.steps.ensemble import EnsembleOptions

_ALL = "all teachers"


def rows(arguments: argparse.Namespace) -> list[Row]:
    """Returns a row for each teacher alone, and one for all.

    Raises:
        UserError: for members that cannot be read.
    """
    try:
        members = EnsembleOptions(members=arguments.members).parsed_members()
    except ValueError as error:
        raise UserError(str(error)) from error
    alone = [
        Row(f"teacher {number}, {name}", arguments.method, (f"teacher.name={name}", f"teacher.checkpoint={checkpoint}"))
        for number, (name, checkpoint) in enumerate(members, start=1)
    ]
    return [*alone, Row(_ALL, arguments.method, (f"teacher.members={arguments.members}",))]


if __name__ == "__main__":
    flags = command_line.parser(__doc__)
    flags.add_argument("--method", default="rdd", help="of configs/METHOD.py")
    flags.add_argument("--members", required=True, help="the teachers, as NETWORK@CHECKPOINT,NETWORK@CHECKPOINT,...")
    flags.set_defaults(preset="cifar100_small", baseline=_ALL)
    leave(command_line.main(rows, flags, "experiments.teachers"))
