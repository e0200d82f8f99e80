"""Times training steps: seconds, images per second and the share of the device's peak, in JAX and in PyTorch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import jax

from experiments.benchmark import timing, workloads
from experiments.benchmark.timing import Work

Workload = Callable[[], Any]


class StepRow(timing.Row):
    """The times of one training step.

    Attributes:
        batch_size: over all devices.
        flops: of each device. A multiply-add counts as two and a gradient as two forward passes; the distillation loss
            is not counted, as usual in model FLOPs utilisation.
    """

    batch_size: int
    flops: float


class TorchWorkloads(Protocol):
    """The module `torch_workloads`, which is imported only where PyTorch is installed."""

    def train_step(self, method: str, *, batch_size: int, dtype: str, steps: int) -> Workload:
        """Prepares training steps."""
        ...

    def mine(self, num_examples: int, *, dim: int, pool_size: int) -> Workload:
        """Prepares a mining."""
        ...


def prepare(
    names: Sequence[str],
    *,
    batch_size: int,
    dtype: str,
    steps: int,
    cached: bool,
    torch: TorchWorkloads | None = None,
) -> dict[Work, Workload]:
    """Prepares the training steps to be timed, of the preset cifar100.

    Args:
        names: methods, or "teacher" for the training of the teacher from labels.
        batch_size: over all devices.
        dtype: of the networks' computation.
        steps: updates in one call.
        cached: also times each distillation method with the teacher's outputs read from memory.
        torch: None to time JAX alone.
    """
    candidates: dict[Work, Workload] = {}
    for name in names:
        work = f"{name} step, cifar100, batch {batch_size}" + ("" if dtype == "float32" else f", {dtype}")
        if torch:
            torch_step = torch.train_step(name, batch_size=batch_size, dtype=dtype, steps=steps)
            candidates[Work(work, "torch")] = torch_step
        make = partial(
            workloads.train_step, name, preset="cifar100", batch_size=batch_size, dtype=dtype, steps_per_call=steps
        )
        candidates[Work(work, "jax")] = make()
        if cached and name not in ("teacher", "ce"):
            candidates[Work(f"{work}, teacher cached", "jax")] = make(cached=True)
    return candidates


def measure(candidates: dict[Work, Workload], *, rounds: int, steps: int, batch_size: int) -> list[StepRow]:
    """Times calls of `steps` updates each, and divides the seconds by `steps`."""
    rows = []
    for row in timing.measure(candidates, rounds):
        seconds = {library: _per_step(own, steps) for library, own in row["seconds"].items()}
        flops = 2 * candidates[Work(row["work"], "jax")].multiply_adds / jax.local_device_count()
        rows.append(StepRow(work=row["work"], seconds=seconds, batch_size=batch_size, flops=flops))
    return rows


def _per_step(seconds: timing.Seconds, steps: int) -> timing.Seconds:
    median = seconds["median"] / steps
    return {"first": seconds["first"] - (steps - 1) * median, "median": median, "least": seconds["least"] / steps}


def table(rows: Sequence[StepRow], peak: float = 0.0) -> str:
    """Formats the rows as Markdown; with a device's `peak` in TFLOP/s, also the share of it that is reached."""
    columns = ["work", "jax, ms", "compilation, s", "images/s", "torch, ms", "torch / jax"]
    columns += ["share of the peak", "torch's share"] if peak else []
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for row in rows:
        ours, theirs = row["seconds"]["jax"], row["seconds"].get("torch")
        median = ours["median"]
        cells = [row["work"], f"{1e3 * median:.2f}", f"{max(0.0, ours['first'] - median):.1f}"]
        cells += [f"{row['batch_size'] / median:,.1f}"]
        cells += [f"{1e3 * theirs['median']:.2f}", f"{theirs['median'] / median:.2f}"] if theirs else ["", ""]
        if peak:
            cells += [f"{row['flops'] / median / peak / 1e12:.1%}"]
            cells += [f"{row['flops'] / theirs['median'] / peak / 1e12:.1%}" if theirs else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
