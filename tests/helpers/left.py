"""The files that a finished run on the digits leaves, without the training."""

from typing import Any, NamedTuple

import jax
from networks import initial_variables

from rdd_jax.runs import records
from rdd_jax.runs.checkpointing import Checkpoints


class Left(NamedTuple):
    """As much of a train state as others read."""

    student: dict[str, Any]
    step: int = 1
    average: None = None


def leave_run(workdir, config, seed, scale=1.0):
    """Writes config.json, summary.json and a checkpoint of random weights times `scale`; returns the workdir."""
    records.write_config(config, workdir)
    variables = initial_variables(config.student.name, 10, (8, 8, 1), seed)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, Left(jax.tree.map(lambda leaf: scale * leaf, variables)), None)
    (workdir / "summary.json").write_text("{}")
    return workdir
