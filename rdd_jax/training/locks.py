"""The lock on a workdir, for all processes of a run together."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rdd_jax.core import io, processes
from rdd_jax.core.errors import WorkdirLocked
from rdd_jax.runs import records
from rdd_jax.training.preemption import StopSignal

_POLL_SECONDS = 1.0


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other runs out of the workdir. All processes of a run call this together.

    Raises:
        WorkdirLocked: in all of them, where another run is training in the workdir.
    """
    with contextlib.ExitStack() as stack:
        refusal = None
        if processes.is_main_process():
            try:
                stack.enter_context(io.workdir_lock(workdir))
            except WorkdirLocked as error:
                refusal = error
        if processes.any_process(refusal is not None):
            raise refusal or WorkdirLocked(f"another run is at work in {workdir}, as the main process has found")
        yield


def wait(workdir: Path) -> None:
    """Waits until the run in the workdir is finished, or its process has ended. All processes call this together.

    Raises:
        TrainingInterrupted: on SIGTERM.
        KeyboardInterrupt: on SIGINT.
    """
    processes.warn(f"another process is training {workdir}: waiting for it")
    with StopSignal() as stop_signal:
        while processes.broadcast_flag_from_main(io.is_locked(workdir) and not records.is_finished(workdir)):
            time.sleep(_POLL_SECONDS)
            if stop_signal.stop_requested():
                if stop_signal.signal_name == "SIGINT":
                    raise KeyboardInterrupt
                raise stop_signal.interruption(f"stopped while waiting for {workdir}")
