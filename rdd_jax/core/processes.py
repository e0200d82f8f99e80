"""The processes of a run, one or more on each host: all compute the same, and the first alone writes and speaks."""

import math
import os
import socket
import sys
import threading
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from rdd_jax.core.errors import UserError

JOIN_SECONDS = 60.0
_SPARE_SECONDS = 60  # By which JAX waits longer.
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


def join(place: Place, seconds: float = JOIN_SECONDS) -> None:
    """Joins the other processes, if there are any; before anything is computed.

    Args:
        place: of this process.
        seconds: for which the others are waited for. JAX aborts the whole process when its own time is up, so that
            this process ends itself before, with one line and exit code 2.

    Raises:
        UserError: where the place is incomplete or impossible, or the coordinator cannot be had.
    """
    if place == Place() and not _is_started_by_a_scheduler():
        return
    _check(place)
    if not seconds > 0:
        raise UserError(f"--join_seconds must be above 0; got {seconds}")
    given = {"num_processes": place.processes, "process_id": place.process} if place.coordinator else {}
    late = threading.Timer(seconds, _give_up, (place, seconds))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            place.coordinator or None, initialization_timeout=math.ceil(seconds) + _SPARE_SECONDS, **given
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the processes do not find each other ({reason}): is --coordinator right?") from error
    finally:
        late.cancel()


def _check(place: Place) -> None:
    """Raises UserError for a place that is incomplete or impossible."""
    host, _, port = place.coordinator.rpartition(":")
    complete = host and port.isdecimal() and 0 < int(port) < 2**16 and 0 <= place.process < place.processes
    if place != Place() and not complete:
        raise UserError(
            "several processes need --coordinator=HOST:PORT of the first, their number --processes=N and each its own "
            f"--process from 0 to N-1; got {place.coordinator!r}, {place.processes} and {place.process}"
        )


def _give_up(place: Place, seconds: float) -> None:
    """Ends this process, whose others have not come in time."""
    if not place.coordinator:
        missing = "not all processes of the job have come"
    elif place.process:
        heard = "answers, but not all others have come to it" if _answers(place.coordinator) else "does not answer"
        missing = f"process 0 at {place.coordinator} {heard}"
    else:
        missing = f"not all of the processes 1 to {place.processes - 1} have come to {place.coordinator}"
    mend = "start all within --join_seconds, with the same --coordinator and --processes"
    # Not print: the main thread may hold its lock.
    os.write(2, f"rdd_jax: {missing} within {seconds:g} seconds: {mend}\n".encode())
    os._exit(2)


def _answers(coordinator: str) -> bool:
    """Tells whether anything listens at HOST:PORT."""
    host, _, port = coordinator.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


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


def first_sees(flag: bool) -> bool:
    """The main process's flag, in all of them: what each reads from disk may come to it at another moment."""
    return bool(from_first(np.array(flag)))


def from_first(tree: Any) -> Any:
    """The arrays of the first process, in all of them; the others bring a tree of the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def wait(name: str) -> None:
    """Until all processes have come here, so that what the first has written is there for all."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
