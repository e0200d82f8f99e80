"""Seconds of a training step, images a second and the share of the device's peak, in JAX and in PyTorch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from experiments.benchmark import timing, workloads


def prepare(
    names: Sequence[str],
    *,
    batch_size: int,
    dtype: str,
    steps: int,
    remembered: bool,
    torch: Any = None,
) -> dict[timing.Work, Any]:
    """Prepares the training steps to be timed, of the preset cifar100.

    Args:
        names: methods, or "teacher" for the training of the teacher from labels.
        batch_size: over all devices.
        dtype: of the networks' computation.
        steps: updates in one call.
        remembered: whether to time each distilling method also with the teacher's outputs read from memory.
        torch: the module `torch_workloads`; None to time JAX alone.
    """
    candidates: dict[timing.Work, Any] = {}
    options = {"batch_size": batch_size, "dtype": dtype}
    for name in names:
        work = f"{name} step, cifar100, batch {batch_size}" + ("" if dtype == "float32" else f", {dtype}")
        if torch:
            candidates[work, "torch"] = torch.train_step(name, **options, steps=steps)
        step = partial(workloads.train_step, name, preset="cifar100", **options, steps_per_call=steps)
        candidates[work, "jax"] = step()
        if remembered and name not in ("teacher", "ce"):
            candidates[f"{work}, views remembered", "jax"] = step(remembered=True)
    return candidates


def measure(candidates: dict[timing.Work, Any], *, rounds: int, steps: int, batch_size: int) -> list[dict[str, Any]]:
    """Times calls of `steps` updates each.

    Returns:
        The rows of `timing.seconds`, with the seconds of one update, and {"batch_size", "flops": of each device in one
        update}. A multiply-add counts as two FLOPs and a gradient as two forward passes; the distillation loss itself
        is not counted, as usual in model FLOPs utilisation.
    """
    rows = timing.seconds(candidates, rounds)
    for row in rows:
        for figures in row["seconds"].values():
            figures |= {key: figures[key] / steps for key in ("median", "least")}
            figures["first"] -= (steps - 1) * figures["median"]
        multiply_adds = candidates[row["work"], "jax"].multiply_adds
        row |= {"batch_size": batch_size, "flops": 2 * multiply_adds / jax.local_device_count()}
    return rows


def table(rows: list[dict[str, Any]], peak: float = 0.0) -> str:
    """Formats the rows as Markdown; with a device's `peak` in TFLOP/s also the share of it that is reached."""
    columns = ["work", "jax, ms", "compiled in, s", "images/s", "torch, ms", "torch / jax"]
    columns += ["of the peak", "torch's"] if peak else []
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
