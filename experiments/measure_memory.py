"""Bytes of a training step and of a mining: what lives through it, what it needs besides, and how mining grows."""

import gc
import itertools
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments import fresh_process, workloads
from rdd_jax.train_state import TrainState

_MEGABYTE = 1e6
_LIVE_PRESET, _LIVE_UPDATES = "digits", 3


def measure(
    methods: list[str], *, preset: str, batch_size: int, sizes: list[int], dim: int, pool_size: int
) -> list[dict[str, Any]]:
    """A row of `step` for each method and one of `mining` for each size, each in a fresh process."""
    step_options = [{"method": method, "preset": preset, "batch_size": batch_size} for method in methods]
    mining_options = [{"num_examples": size, "dim": dim, "pool_size": pool_size} for size in sizes]
    work = [("step", options) for options in step_options] + [("mining", options) for options in mining_options]
    bar = tqdm(work, unit="process")
    return [fresh_process.call(f"experiments.measure_memory:{function}", options) for function, options in bar]


def step(method: str, *, preset: str, batch_size: int) -> dict[str, Any]:
    """What one device holds for a training step, in bytes.

    Returns:
        {"method", "preset", "batch_size",
        "state": {part: bytes}: the train state, by `state_parts`,
        "constants": {"teacher", "images and labels"}: what every step reads,
        "temporaries": what the compiled step needs while it runs,
        "aliased": of its outputs, what takes the place of the donated state (all of it is wanted),
        "live_copies": all arrays that live after some real updates on the digits, without the constants, over the
        state: 1.0 is wanted}.
    """
    is_small = preset == _LIVE_PRESET
    work = workloads.train_step(method, preset=_LIVE_PRESET, batch_size=batch_size if is_small else 64)
    live_copies = _live_copies(work)  # While the process holds nothing else.
    if not is_small:
        work = workloads.train_step(method, preset=preset, batch_size=batch_size)
    needs = work.compile().memory_analysis()
    teacher, *split = work.constants
    return {
        "method": method,
        "preset": preset,
        "batch_size": batch_size,
        "state": state_parts(work.state),
        "constants": {"teacher": _tree_bytes(teacher), "images and labels": _tree_bytes(split)},
        "temporaries": needs.temp_size_in_bytes,
        "aliased": needs.alias_size_in_bytes,
        "live_copies": live_copies,
    }


def mining(num_examples: int, *, dim: int, pool_size: int) -> dict[str, Any]:
    """Peak memory and seconds of one mining that is compiled beforehand; on Linux, in a process that does only that.

    Returns:
        {"num_examples", "dim", "pool_size", "seconds", "peak": bytes by which the resident memory grew at most while
        mining, "table": bytes of the result, which is a part of them, "temporaries": what the compiled program says
        that it needs besides its arguments and its result}.
    """
    work = workloads.mine(num_examples, dim=dim, pool_size=pool_size)
    needs = work.compile().memory_analysis()
    gc.collect()
    _forget_peak()
    before, started = _resident_bytes(), time.perf_counter()
    table = work()
    seconds = time.perf_counter() - started
    return {
        "num_examples": num_examples,
        "dim": dim,
        "pool_size": pool_size,
        "seconds": seconds,
        "peak": _peak_bytes() - before,
        "table": _tree_bytes(table),
        "temporaries": needs.temp_size_in_bytes,
    }


def state_parts(state: TrainState) -> dict[str, int]:
    """{"student", "optimizer", "heads", "distiller rdd.bank", ..., "counters": bytes}, without the empty ones.

    Optimizer and student are apart; a distiller's state is split by its method's own fields.
    """
    parts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        field, *inside = (str(getattr(key, "name", getattr(key, "key", key))) for key in path)
        if field == "distiller":
            part = f"distiller {'.'.join(inside[:2])}"
        else:
            part = field if field in ("student", "optimizer", "heads") else "counters"
        parts[part] = parts.get(part, 0) + leaf.nbytes
    return {part: size for part, size in parts.items() if size}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the steps, then the minings."""
    return "\n\n".join(
        lines
        for lines in (
            _steps_table([row for row in rows if "method" in row]),
            _minings_table([row for row in rows if "num_examples" in row]),
        )
        if lines
    )


def _steps_table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        "| step | state, MB | of which | teacher, MB | images, labels, MB | temporaries, MB | aliased / state "
        "| live / state |",
        "| --- " * 8 + "|",
    ]
    for row in rows:
        state = sum(row["state"].values())
        parts = ", ".join(f"{part} {_megabytes(size)}" for part, size in row["state"].items() if size > state / 1000)
        sizes = (*row["constants"].values(), row["temporaries"])
        lines.append(
            f"| {row['method']} step, {row['preset']}, batch {row['batch_size']} | {_megabytes(state)} | {parts} "
            f"| {' | '.join(map(_megabytes, sizes))} | {row['aliased'] / state:.4f} | {row['live_copies']:.4f} |"
        )
    return "\n".join(lines)


def _minings_table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        "| mining | peak, MB | of which the table, MB | temporaries by XLA, MB | s | s per million pairs |",
        "| --- " * 6 + "|",
    ]
    for row in rows:
        name = f"mine {row['num_examples']:,} x {row['dim']}, pool {row['pool_size']:,}"
        sizes = " | ".join(_megabytes(row[key]) for key in ("peak", "table", "temporaries"))
        per_pair = 1e6 * row["seconds"] / row["num_examples"] ** 2
        lines.append(f"| {name} | {sizes} | {row['seconds']:.2f} | {per_pair:.4f} |")
    return "\n".join(lines)


def _live_copies(work: workloads.TrainStep) -> float:
    for _ in range(_LIVE_UPDATES):
        work()
    constants = {pointer for pointer, _ in _buffers(jax.tree.leaves(work.constants))}
    live = {pointer: size for pointer, size in _buffers(jax.live_arrays()) if pointer not in constants}
    return sum(live.values()) / _tree_bytes(work.state)


def _buffers(arrays: list[jax.Array]) -> list[tuple[int, int]]:
    """(address, bytes) on the first device, of arrays of which some may share a buffer."""
    gc.collect()
    device = jax.local_devices()[0]
    shards = itertools.chain.from_iterable(array.addressable_shards for array in arrays if not array.is_deleted())
    return [(shard.data.unsafe_buffer_pointer(), shard.data.nbytes) for shard in shards if shard.device == device]


def _tree_bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _forget_peak() -> None:
    """The compilation's peak is not the mining's. Where Linux forbids it, the larger of the two is reported."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"the peak of the compilation counts as well: {error}", file=sys.stderr)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _megabytes(size: float) -> str:
    return f"{size / _MEGABYTE:.1f}"
