"""Updates a second: what a step takes, how many images that is, what of the device's peak; and PyTorch's beside it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from experiments import timing, workloads


def prepare(
    names: Sequence[str],
    *,
    batch_size: int,
    dtype: str,
    steps: int,
    remembered: bool,
    torch: Any = None,
) -> dict[timing.Work, Any]:
    """What is to be timed of the preset cifar100: `steps` updates of each name in one call.

    Args:
        names: of methods, or "teacher", the training of the teacher from labels.
        batch_size: over all devices.
        dtype: of the networks' computation.
        steps: that the devices do without the host in between.
        remembered: also with the teacher's views remembered, where there is a teacher.
        torch: the module of PyTorch's workloads; None without them.
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
    """Times calls by turns, and tells what one of their `steps` updates took.

    Returns:
        The rows of `timing.seconds` with the seconds of an update, and {"batch_size", "flops": of each device in an
        update}. A multiply-add is two of these FLOPs, and a gradient costs two forward passes. What a distiller adds
        does not count, as in the usual model FLOPs utilisation.
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
    """Markdown: a row for each workload; with a device's peak in TFLOP/s, what share of it the networks reach."""
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
