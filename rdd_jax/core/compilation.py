"""What XLA compiles: kept for the runs to come, and timed."""

import time
from pathlib import Path
from typing import Any

import jax

# JAX tells of tracing, lowering and compiling (or fetching what was compiled before) under this name.
_EVENTS = "/jax/core/compile/"


def keep(folder: Path) -> None:
    """Has compiled programs kept in that folder, where JAX has not been told of another."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder))


class CompileClock:
    """How long this process has made programs since the clock was started, in seconds.

    started: when that was, by `time.perf_counter`.
    """

    def __init__(self):
        self.started = time.perf_counter()
        self._spans: list[tuple[float, float]] = []  # disjoint, in order

    @property
    def seconds(self) -> float:
        """Time in which anything was traced, lowered or compiled."""
        return sum(end - start for start, end in self._spans)

    def __enter__(self) -> "CompileClock":
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        return self

    def __exit__(self, *exception: Any) -> None:
        jax.monitoring.unregister_event_duration_listener(self._hear)

    def _hear(self, event: str, seconds: float, **_: Any) -> None:
        if not event.startswith(_EVENTS):
            return
        end = time.perf_counter()
        start = end - seconds
        # Tracing a function traces those within it, which were heard of before it.
        while self._spans and self._spans[-1][1] > start:
            start = min(start, self._spans.pop()[0])
        self._spans.append((start, end))
