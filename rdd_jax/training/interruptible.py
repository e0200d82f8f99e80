"""Long work between two updates, such as mining: shown on the progress bar, and ended early by a request to stop."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from rdd_jax.core.types import OnBatch
from rdd_jax.training.preemption import StopSignal

_POLL_SECONDS = 0.2
T = TypeVar("T")


class StopRequested(Exception):
    """A stop was asked for during work that a resumed run does again."""


class InterruptibleRunner:
    """Runs long work so that a request to stop ends it within seconds.

    Args:
        stop_signal: the requests to stop.
        say: shows an activity to the user.
    """

    def __init__(self, stop_signal: StopSignal, say: Callable[[str], None]):
        self._stop_signal = stop_signal
        self._say = say

    def batches(self, activity: str) -> OnBatch:
        """Makes the function that a loop over batches calls after each of them, in all processes alike.

        It shows "activity done/total", and raises `StopRequested` where any process was asked to stop.
        """

        def after(done: int, total: int) -> None:
            self._say(f"{activity} {done:,}/{total:,}")
            if self._stop_signal.stop_requested():
                raise StopRequested

        return after

    def compute(self, activity: str, fn: Callable[..., T], *args: Any) -> T:
        """Returns `fn(*args)`, arrays that one compiled function computes.

        XLA cannot end a computation early. It therefore runs in a thread that is abandoned at a request to stop.
        Several processes wait for the end instead: they can agree to stop only between computations.

        Raises:
            StopRequested: where any process was asked to stop.
        """
        outcome: list[T | BaseException] = []

        def work() -> None:
            try:
                outcome.append(jax.block_until_ready(fn(*args)))
            except BaseException as error:  # Raised again by the thread that waits.
                outcome.append(error)

        started, thread = time.monotonic(), threading.Thread(target=work, name=activity, daemon=True)
        thread.start()
        self._say(activity)
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            self._say(f"{activity} {time.monotonic() - started:.0f} s")
            if jax.process_count() == 1 and self._stop_signal.signal_name:
                raise StopRequested
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        if self._stop_signal.stop_requested():
            raise StopRequested
        return outcome[0]
