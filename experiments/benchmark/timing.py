"""Measures wall-clock times, with the candidates interleaved."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

from tqdm import tqdm


class Work(NamedTuple):
    """A workload and the library that computes it: "jax" or "torch"."""

    name: str
    library: str


class Seconds(TypedDict):
    """The first call, which compiles, and the median and the least of the later ones."""

    first: float
    median: float
    least: float


class Row(TypedDict):
    """The times of a workload by library."""

    work: str
    seconds: dict[str, Seconds]


def measure(candidates: Mapping[Work, Callable[[], Any]], rounds: int) -> list[Row]:
    """Runs every candidate once per round, one after the other, after a first round that includes compilation."""
    times: dict[Work, list[float]] = {work: [] for work in candidates}
    with tqdm(total=(1 + rounds) * len(candidates)) as progress:
        for _ in range(1 + rounds):
            for work, run in candidates.items():
                started = time.perf_counter()
                run()
                times[work].append(time.perf_counter() - started)
                progress.update()
    rows: dict[str, Row] = {}
    for (name, library), (first, *rest) in times.items():
        row = rows.setdefault(name, {"work": name, "seconds": {}})
        row["seconds"][library] = {"first": first, "median": statistics.median(rest), "least": min(rest)}
    return list(rows.values())
