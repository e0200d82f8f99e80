"""Thread-seconds of a traced program's instructions on the CPU, from the trace that jax.profiler writes.

Threads write down three kinds of intervals: an instruction, the executor that chooses the next one, and a task of the
thread pool. A large instruction hands parts of its work to other threads as such tasks: they bear no name, but a number
under which the instruction's thread had written them down.
"""

import collections
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import jax

# What is left of the threads' time: choosing instructions, starting tasks.
EXECUTOR = "executor"


class Kind(Enum):
    """What a thread wrote down."""

    INSTRUCTION = 0
    EXECUTOR = 1
    WAITING = 2
    TASK = 3
    HANDED_OVER = 4  # A moment, not an interval: from here on another thread may do the task.


@dataclass(eq=False)
class Interval:
    """What a thread did from start to stop, in nanoseconds.

    name: of an instruction.
    task: the number of a task, where it is done and where it was handed over.
    """

    kind: Kind
    start: float
    stop: float
    name: str = ""
    task: int | None = None
    own: float = 0.0  # Its length without that of the intervals inside.
    parent: "Interval | None" = None


def by_instruction(threads: Iterable[list[Interval]]) -> dict[str, float]:
    """{name of an instruction, or EXECUTOR: nanoseconds}, over all threads; waiting counts for nothing.

    Time inside a task and inside none of its intervals goes to the instruction that handed the task over.

    Args:
        threads: what each of them wrote down, in any order.
    """
    done, origins = [], {}
    for intervals in threads:
        done += _nest(intervals, origins)
    total: dict[str, float] = collections.defaultdict(float)
    for interval in done:
        if interval.kind is not Kind.WAITING:
            total[_owner(interval, origins)] += interval.own
    return dict(total)


def read(folder: Path, module: str) -> list[list[Interval]]:
    """What the threads did for the program of that HLO module's name, from the one trace in a folder.

    Raises:
        ValueError: where the folder holds no trace, or several.
    """
    files = list(folder.rglob("*.xplane.pb"))
    if len(files) != 1:
        raise ValueError(f"one trace is wanted in {folder}; there are {len(files)}")
    planes = jax.profiler.ProfileData.from_file(str(files[0])).planes
    return [list(_intervals(line.events, module)) for plane in planes for line in plane.lines]


def _intervals(events: Iterable[Any], module: str) -> Iterable[Interval]:
    begun: Interval | None = None
    for event in sorted(events, key=lambda event: event.start_ns):
        start, stop, name = event.start_ns, event.start_ns + event.duration_ns, event.name
        if name == "ThreadpoolListener::StartRegion":
            begun = Interval(Kind.TASK, start, stop, task=_number(event, "_c"))
        elif name == "ThreadpoolListener::StopRegion":
            if begun:
                begun.stop = start
                yield begun
            begun = None
        elif name == "ThreadpoolListener::Record":
            yield Interval(Kind.HANDED_OVER, start, start, task=_number(event, "_p"))
        elif name.startswith("ThunkExecutor::"):
            yield Interval(Kind.WAITING if "wait" in name else Kind.EXECUTOR, start, stop)
        elif not name.startswith("end: ") and dict(event.stats).get("hlo_module") == module:
            yield Interval(Kind.INSTRUCTION, start, stop, name=name)


def _number(event: Any, key: str) -> int | None:
    return next((value for name, value in event.stats if name == key), None)


def _nest(intervals: list[Interval], origins: dict[int, Interval | None]) -> list[Interval]:
    """Gives each its parent and its own time; notes in `origins` which interval each task was handed over from."""
    nested: list[Interval] = []
    around: list[Interval] = []
    for interval in sorted(intervals, key=lambda interval: (interval.start, -interval.stop)):
        while around and around[-1].stop <= interval.start:
            around.pop()
        parent = around[-1] if around else None
        if interval.kind is Kind.HANDED_OVER:
            if interval.task is not None:
                origins[interval.task] = parent
            continue
        # The clock is read once for each end: by that much a child may seem to outlive its parent.
        stop = min(interval.stop, parent.stop) if parent else interval.stop
        interval.stop, interval.own, interval.parent = stop, stop - interval.start, parent
        if parent:
            parent.own -= interval.own
        around.append(interval)
        nested.append(interval)
    return nested


def _owner(interval: Interval | None, origins: dict[int, Interval | None]) -> str:
    """A part of an instruction may itself hand over parts: they are all followed back to the instruction."""
    seen = set()
    while interval and interval.kind is Kind.TASK and interval.task not in seen:
        seen.add(interval.task)
        interval = origins.get(interval.task)
    return interval.name if interval and interval.kind is Kind.INSTRUCTION else EXECUTOR
