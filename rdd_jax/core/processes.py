"""Several processes of one run, on one or more hosts.

All processes execute the same program. Process 0, the main process, alone writes files and prints.
"""

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
_EXTRA_SECONDS = 60  # Added to JAX's own timeout, so that this module's comes first.
# The number of processes that srun or mpirun started. JAX reads the coordinator and the ids from the environment.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


class ProcessSpec(NamedTuple):
    """The id of this process and the address of the main process.

    coordinator: HOST:PORT of process 0, or "" to use the environment of srun or mpirun, if any.
    processes: the number of processes.
    process: the id of this process, from 0.
    """

    coordinator: str = ""
    processes: int = 0
    process: int = -1


def initialize(spec: ProcessSpec, seconds: float = JOIN_SECONDS) -> None:
    """Connects to the other processes of the run, if there are any. Call it before any computation.

    If they do not connect in time, this process ends with exit code 2 and one line on stderr. It does not wait for
    JAX's own timeout, which aborts the process.

    Args:
        spec: of this process.
        seconds: the time for which the other processes are waited for.

    Raises:
        UserError: if the specification is incomplete or impossible, or the coordinator's address cannot be used.
    """
    if spec == ProcessSpec() and not _is_started_by_a_scheduler():
        return
    _check(spec)
    if not seconds > 0:
        raise UserError(f"--join_seconds must be above 0; got {seconds}")
    timer = threading.Timer(seconds, _give_up, (spec, seconds))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            spec.coordinator or None,
            num_processes=spec.processes if spec.coordinator else None,
            process_id=spec.process if spec.coordinator else None,
            initialization_timeout=math.ceil(seconds) + _EXTRA_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the processes cannot connect ({reason}): check --coordinator") from error
    finally:
        timer.cancel()


def _check(spec: ProcessSpec) -> None:
    """Raises UserError for an incomplete or impossible specification."""
    host, _, port = spec.coordinator.rpartition(":")
    complete = host and port.isdecimal() and 0 < int(port) < 2**16 and 0 <= spec.process < spec.processes
    if spec != ProcessSpec() and not complete:
        raise UserError(
            "several processes need --coordinator=HOST:PORT of process 0, their number --processes=N and each its own "
            f"--process from 0 to N-1; got {spec.coordinator!r}, {spec.processes} and {spec.process}"
        )


def _give_up(spec: ProcessSpec, seconds: float) -> None:
    """Ends this process because others have not connected in time."""
    if not spec.coordinator:
        problem = "not all processes of the job connected"
    elif spec.process:
        problem = f"process 0 at {spec.coordinator} " + (
            "answers, but not all other processes connected to it" if _answers(spec.coordinator) else "does not answer"
        )
    else:
        problem = f"not all of the processes 1 to {spec.processes - 1} connected to {spec.coordinator}"
    hint = "start all within --join_seconds, with the same --coordinator and --processes"
    # Not print, because the main thread may hold the lock of stderr.
    os.write(2, f"rdd_jax: {problem} within {seconds:g} seconds: {hint}\n".encode())
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


def is_main_process() -> bool:
    """Tells whether this is the main process, which writes files and prints."""
    return jax.process_index() == 0


def print_once(text: str) -> None:
    """Prints on stdout, from the main process alone."""
    if is_main_process():
        print(text)


def warn(sentence: str) -> None:
    """Prints a warning on stderr, from the main process alone."""
    if is_main_process():
        print(f"rdd_jax: {sentence}", file=sys.stderr)


def any_process(flag: bool) -> bool:
    """Tells whether the flag is set in any process. All processes must call it."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def broadcast_flag_from_main(flag: bool) -> bool:
    """Returns the main process's flag in every process. All processes must call it.

    Used for what is read from disk, which processes may see change at different moments.
    """
    return bool(broadcast_from_main(np.array(flag)))


def broadcast_from_main(tree: Any) -> Any:
    """Returns the main process's arrays in every process. All processes must call it, with equal shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def barrier(name: str) -> None:
    """Waits until all processes have called it with this name, for example to read what the main process wrote."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
