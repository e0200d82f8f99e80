"""The processes of a run, one or more on each host: all compute the same, and the first alone writes and speaks."""

import os
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from rdd_jax.errors import UserError

# How many processes srun and mpirun have started, of which jax finds out the rest by itself.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


class Place(NamedTuple):
    """This process among those of a run.

    coordinator: HOST:PORT of the first process; "" to go by the scheduler's environment.
    processes: how many there are.
    process: which this one is, from 0.
    """

    coordinator: str = ""
    processes: int = 0
    process: int = -1


def join(place: Place) -> None:
    """Joins the other processes, if there are any; before anything is computed.

    Raises:
        UserError: where the place is incomplete or impossible, or the others do not come.
    """
    if place == Place() and not _is_started_by_a_scheduler():
        return
    if place != Place() and not (place.coordinator and 0 <= place.process < place.processes):
        raise UserError(
            "several processes need --coordinator=HOST:PORT of the first, their number --processes=N and each its own "
            f"--process from 0 to N-1; got {place.coordinator!r}, {place.processes} and {place.process}"
        )
    given = {"num_processes": place.processes, "process_id": place.process} if place.coordinator else {}
    try:
        jax.distributed.initialize(place.coordinator or None, **given)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the processes do not find each other ({reason}): is --coordinator right?") from error


def _is_started_by_a_scheduler() -> bool:
    counts = (os.environ.get(name, "") for name in _COUNTS)
    return any(count.isdigit() and int(count) > 1 for count in counts)


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """Prints it, once for all processes."""
    if is_first():
        print(text)


def tell(sentence: str) -> None:
    """Says beside the progress bar what has gone wrong and was mended, once for all processes."""
    if is_first():
        print(f"rdd_jax: {sentence}", file=sys.stderr)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any of the processes; they all come here."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def from_first(tree: Any) -> Any:
    """The arrays of the first process, in all of them; the others bring a tree of the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def wait(name: str) -> None:
    """Until all processes have come here, so that what the first has written is there for all."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
