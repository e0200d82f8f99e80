"""Medians of wall-clock times, with the candidates interleaved."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Work = tuple[str, str]  # (workload, library), as in ("kd step", "jax")


def seconds(candidates: dict[Work, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Runs every candidate once per round, one after the other, after a first round that includes compilation.

    Returns:
        One row per workload: [{"work", "seconds": {"jax": {"first", "median", "least"}, ...}}].
    """
    times: dict[Work, list[float]] = {work: [] for work in candidates}
    with tqdm(total=(1 + rounds) * len(candidates)) as progress:
        for _ in range(1 + rounds):
            for work, do in candidates.items():
                started = time.perf_counter()
                do()
                times[work].append(time.perf_counter() - started)
                progress.update()
    rows: dict[str, dict[str, Any]] = {}
    for (work, who), (first, *rest) in times.items():
        figures = {"first": first, "median": statistics.median(rest), "least": min(rest)}
        rows.setdefault(work, {"work": work, "seconds": {}})["seconds"][who] = figures
    return list(rows.values())
