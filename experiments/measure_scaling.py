"""The same global batch on 1, 2, 4, ... devices: seconds a step, and what the devices send each other.

The devices are fakes that share the cores of one CPU: more of them do not add speed. What grows from one to several is
the overhead of splitting the work, and is all that these seconds show. Where the compiler merges collectives of
several purposes into one, it counts for the purpose whose name it kept.
"""

import collections
import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from experiments import fresh_process, program_text, workloads

_STEPS_A_TURN = 5
_PURPOSES = {
    "augment": "augmentation",
    "student": "batch norm's statistics and their gradients",
    "distill": "the distiller: embeddings, bank, means",
    "teacher": "teacher",
    "optimizer": "optimizer",
    None: "gradients and metrics",
}


def measure(
    methods: list[str], *, devices: list[int], preset: str, batch_size: int, rounds: int
) -> list[dict[str, Any]]:
    """Times each method on each number of devices; a number is a process, and they take turns.

    Returns:
        [{"method", "preset", "batch_size", "devices", "seconds": {"median", "least"} of the rounds,
        "collectives": [{"kind", "purpose", "count", "bytes"}], of one step and as one device has the results}].
    """
    rows = []
    with tqdm(total=len(methods) * len(devices) * (1 + rounds), unit="turn") as progress:
        for method in methods:
            options = {"method": method, "preset": preset, "batch_size": batch_size}
            with contextlib.ExitStack() as stack:
                processes = [
                    stack.enter_context(fresh_process.Turns(f"{__name__}:steps", options, _environment(count)))
                    for count in devices
                ]
                answers: list[list[Any]] = [[] for _ in processes]
                for _ in range(1 + rounds):
                    for process, taken in zip(processes, answers, strict=True):
                        taken.append(process.take())
                        progress.update()
            for count, (collectives, *times) in zip(devices, answers, strict=True):
                seconds = {"median": statistics.median(times), "least": min(times)}
                rows.append({**options, "devices": count, "seconds": seconds, "collectives": collectives})
    return rows


def steps(method: str, *, preset: str, batch_size: int) -> Iterator[Any]:
    """First the collectives of one method's step on all devices of this process, then seconds a step, turn by turn."""
    work = workloads.train_step(method, preset=preset, batch_size=batch_size)
    collectives = summarize(program_text.collectives(work.compile().as_text()))
    for _ in range(2):
        work()
    yield collectives
    while True:
        work()  # Warms what has cooled while the others had their turns.
        started = time.perf_counter()
        for _ in range(_STEPS_A_TURN):
            work()
        yield (time.perf_counter() - started) / _STEPS_A_TURN


def summarize(collectives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """[{"kind", "bytes", "scope"}] -> [{"kind", "purpose", "count", "bytes"}], the most bytes first."""
    groups = collections.defaultdict(list)
    for collective in collectives:
        groups[collective["kind"], _PURPOSES[collective["scope"]]].append(collective["bytes"])
    rows = [
        {"kind": kind, "purpose": purpose, "count": len(sizes), "bytes": sum(sizes)}
        for (kind, purpose), sizes in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the seconds, and beneath them the collectives."""
    lines = ["| step | devices | s | s / s on the fewest devices |", "| --- " * 4 + "|"]
    sent = ["| step | devices | collective | for | count | kB |", "| --- " * 6 + "|"]
    fewest: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row["devices"]):
        fewest.setdefault(row["method"], row["seconds"]["median"])
    for row in rows:
        name = f"{row['method']} step, {row['preset']}, batch {row['batch_size']} | {row['devices']}"
        median = row["seconds"]["median"]
        lines.append(f"| {name} | {median:.4f} | {median / fewest[row['method']]:.2f} |")
        for entry in row["collectives"]:
            kilobytes = f"{entry['bytes'] / 1000:.1f}"
            sent.append(f"| {name} | {entry['kind']} | {entry['purpose']} | {entry['count']} | {kilobytes} |")
    return "\n".join([*lines, "", *sent])


def _environment(devices: int) -> dict[str, str]:
    flag = f"--xla_force_host_platform_device_count={devices}"
    return {**fresh_process.with_xla_flag(flag), "JAX_PLATFORMS": "cpu"}
