"""Long computations between two updates, such as mining: shown to the user, and ended early by a signal."""

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

from rdd_jax.core.types import OnBatch
from rdd_jax.training.preemption import StopRequested, StopSignal

_POLL_SECONDS = 0.2
P = ParamSpec("P")
T = TypeVar("T")


class InterruptibleRunner:
    """Runs long computations so that a signal ends them within seconds.

    Args:
        stop_signal: the signals received.
        show: shows a text, such as "mining 12 s", on the progress bar.
    """

    def __init__(self, stop_signal: StopSignal, show: Callable[[str], None]):
        self._stop_signal = stop_signal
        self._show = show

    def on_batch(self, activity: str) -> OnBatch:
        """Makes the function that a loop over batches calls after each batch, in all processes alike.

        It shows "activity done/total", and raises `StopRequested` where any process has received a signal.
        """

        def on_batch(done: int, total: int) -> None:
            self._show(f"{activity} {done:,}/{total:,}")
            if self._stop_signal.stop_requested():
                raise StopRequested

        return on_batch

    def run(self, activity: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns `fn(*args, **kwargs)`, arrays that one compiled function computes.

        XLA cannot end a computation early. It therefore runs in a thread, which is abandoned when a signal comes.
        Several processes wait for its end instead, as they can only react together, between computations.

        Raises:
            StopRequested: where any process has received a signal.
        """
        outcome: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(jax.block_until_ready(fn(*args, **kwargs)))
            except BaseException as error:  # Raised again by the thread that waits.
                errors.append(error)

        started, thread = time.monotonic(), threading.Thread(target=work, name=activity, daemon=True)
        thread.start()
        self._show(activity)
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            self._show(f"{activity} {time.monotonic() - started:.0f} s")
            if jax.process_count() == 1 and self._stop_signal.signal_name:
                raise StopRequested
        if errors:
            raise errors[0]
        if self._stop_signal.stop_requested():
            raise StopRequested
        return outcome[0]
