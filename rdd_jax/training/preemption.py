"""The ends that a run may come to before its last epoch: it is asked to stop, or its numbers are none any more."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from rdd_jax.core import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingInterrupted(Exception):
    """A run was asked to stop and has saved what it had; the message says so and how to go on."""


class StopSignal:
    """While it is entered, SIGTERM and SIGINT only ask to stop; the second of them ends the process at once.

    asked: the name of the signal that came, "" before.
    """

    def __init__(self):
        self.signal_name = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # No other may set handlers.
            # What ignores SIGINT, as a shell's background jobs do, goes on ignoring it.
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop_requested(self) -> bool:
        """Whether any process of the run was asked to stop; they all call this between the same two calls."""
        stops = processes.any_process(bool(self.signal_name))
        if stops and not self.signal_name:
            self.signal_name = "another process was asked to stop"
        return stops

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.__exit__()
        self.signal_name = signal.Signals(number).name
        # Not print, whose buffer this may have interrupted.
        os.write(2, f"\nrdd_jax: {self.signal_name}: stopping; once more ends it at once\n".encode())
