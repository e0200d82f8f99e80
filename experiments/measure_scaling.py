"""The same global batch on 1, 2, 4, ... devices: seconds a step, and what the devices send each other.

The devices are fakes that share the cores of one CPU: more of them do not add speed. What grows from one to several is
the overhead of splitting the work, and is all that these seconds show. Where the compiler merges collectives of
several purposes into one, it counts for the purpose whose name it kept.
"""

import collections
import statistics
import time
from typing import Any

from tqdm import tqdm

from experiments import fresh_process, program_text, workloads

_WARM_UP, _STEPS = 3, 20
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
    """Times each method on each number of devices, in a process of its own; all of that `rounds` times.

    One at a time: processes that wait beside the one that works slow it down, by what their threads still do.

    Returns:
        [{"method", "preset", "batch_size", "devices", "seconds": {"median", "least"} of the rounds,
        "collectives": [{"kind", "purpose", "count", "bytes"}], of one step and as one device has the results}].
    """
    cases = [(method, count) for method in methods for count in devices]
    answers = {case: [] for case in cases}
    for method, count in tqdm(cases * rounds, unit="process"):
        options = {"method": method, "preset": preset, "batch_size": batch_size}
        answers[method, count].append(fresh_process.call(f"{__name__}:steps", options, _environment(count)))
    rows = []
    for (method, count), found in answers.items():
        times = [answer["seconds"] for answer in found]
        seconds = {"median": statistics.median(times), "least": min(times)}
        row = {"method": method, "preset": preset, "batch_size": batch_size, "devices": count, "seconds": seconds}
        rows.append({**row, "collectives": found[0]["collectives"]})
    return rows


def steps(method: str, *, preset: str, batch_size: int) -> dict[str, Any]:
    """{"seconds", "collectives"} of one method's step on all devices of this process; the median of some steps."""
    work = workloads.train_step(method, preset=preset, batch_size=batch_size)
    collectives = summarize(program_text.collectives(work.compile().as_text()))
    times = []
    for _ in range(_WARM_UP + _STEPS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return {"seconds": statistics.median(times[_WARM_UP:]), "collectives": collectives}


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
