"""An iterator that measures how long its consumer waits."""

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class TimedIterator(Iterator[T]):
    """Wraps an iterator and counts the seconds that its consumer has waited for it.

    Args:
        iterator: the wrapped iterator.

    Attributes:
        seconds: waited so far.
    """

    def __init__(self, iterator: Iterator[T]):
        self._iterator = iterator
        self.seconds = 0.0

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - started
