"""Interruption of a run by SIGTERM or SIGINT: all is saved, and the same command, run again, resumes."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from rdd_jax.core import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(Exception):
    """Raised at the point in a run at which it reacts to a signal."""


class TrainingInterrupted(Exception):
    """A run was interrupted by a signal and has saved its state; the message says so and how to resume."""


class StopSignal:
    """Replaces the handlers of SIGTERM and SIGINT, so that the first signal only asks the run to stop.

    The second signal has its usual effect, which is to end the process at once.

    Attributes:
        signal_name: the name of the signal that this process received, "" before.
    """

    def __init__(self):
        self.signal_name = ""
        self._other_process_stopped = False
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers to be set there alone.
            # A process that ignores SIGINT, such as a shell's background job, continues to ignore it.
            handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._previous_handlers = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore_handlers()

    def stop_requested(self) -> bool:
        """Returns True in all processes of the run where any of them has received a signal.

        All processes call this at the same point of the run, as it exchanges a message between them.
        """
        requested = processes.any_process(bool(self.signal_name) or self._other_process_stopped)
        self._other_process_stopped = requested and not self.signal_name
        return requested

    @property
    def reason(self) -> str:
        """The start of the message that ends the run: `signal_name`, or that another process received a signal."""
        return self.signal_name or "another process was asked to stop"

    def interruption(self, progress: str) -> TrainingInterrupted:
        """Makes the exception that ends the run; `progress` says how far it has come, as in "stopped after ..."."""
        return TrainingInterrupted(f"{self.reason}: {progress}; run the same command again to resume")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._restore_handlers()
        self.signal_name = signal.Signals(number).name
        # Not print, whose buffer the signal may have interrupted.
        os.write(2, f"\nrdd_jax: {self.signal_name}: stopping; once more ends it at once\n".encode())

    def _restore_handlers(self) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
