"""Compilation by XLA: a cache on disk, and the time it takes."""

import time
from pathlib import Path

import jax

# The prefix of the events by which JAX reports tracing, lowering and compilation (or its cache's reply).
_EVENTS = "/jax/core/compile/"


def enable_compilation_cache(folder: Path) -> None:
    """Caches compiled programs in a folder, unless JAX has been given another (JAX_COMPILATION_CACHE_DIR)."""
    if jax.config.jax_compilation_cache_dir is None:  # pyrefly: ignore[missing-attribute], as JAX makes it at run time
        jax.config.update("jax_compilation_cache_dir", str(folder))


class CompilationTimer:
    """A context manager that measures the time spent on compilation while it is entered.

    Attributes:
        started: the time of construction, by `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self._spans: list[tuple[float, float]] = []  # Disjoint and in order.

    @property
    def seconds(self) -> float:
        """The seconds in which anything was traced, lowered or compiled."""
        return sum(end - start for start, end in self._spans)

    def __enter__(self) -> "CompilationTimer":
        jax.monitoring.register_event_duration_secs_listener(self._on_event)
        return self

    def __exit__(self, *exception: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._on_event)

    def _on_event(self, event: str, duration_secs: float, **_: str | int) -> None:
        if not event.startswith(_EVENTS):
            return
        end = time.perf_counter()
        start = end - duration_secs
        # A function's trace contains those of the functions it calls, which were reported before it.
        while self._spans and self._spans[-1][1] > start:
            start = min(start, self._spans.pop()[0])
        self._spans.append((start, end))
