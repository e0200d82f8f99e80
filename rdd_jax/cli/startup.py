"""Before JAX is imported, which takes seconds: interrupts and closed streams. Uses only the standard library."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # What shells say of a process that SIGINT ended.


def catch_early_interrupts() -> None:
    """Makes an interrupt end the program with one line, and opens standard streams that are closed.

    Otherwise the next file that is opened would take the number of a closed stream, and receive what is printed.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def restore_interrupts() -> None:
    """Makes an interrupt raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) == _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_missing(error: ModuleNotFoundError) -> NoReturn:
    """Ends the program with one line where a package is missing that only the program needs."""
    if not error.name or error.name.split(".")[0] == "rdd_jax":
        raise error
    line = f"rdd_jax: {error.name} is not installed: pip install 'rdd_jax[train]' installs all that the program needs\n"
    os.write(2, line.encode())
    os._exit(2)


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception could be swallowed, or wrapped, by what is being imported.
    os.write(2, b"rdd_jax: interrupted before anything was done\n")
    os._exit(INTERRUPTED)
