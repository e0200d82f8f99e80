"""Seconds per step and per mining, against PyTorch on the same work in the same call where it is asked for.

    python -m experiments.benchmark step [--methods=kd,crd,rdd] [--against=torch] [--save=FILE.json]
    python -m experiments.benchmark mine [--sizes=5000,10000] [--against=torch] [--save=FILE.json]

Figures are medians of several rounds after a warm-up. In each round everything takes its turn, so that a busy moment of
the machine falls on all. Ratios are what to read: seconds are the machine's.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments import workloads
from rdd_jax import methods
from rdd_jax.errors import unknown

Work = tuple[str, str]  # What is done, and by whom: ("kd step", "jax").


def seconds(candidates: dict[Work, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """[{"work", "seconds": {"jax": {"first", "median", "least"}, ...}}]; "first" includes the compilation."""
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


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each workload, with the ratio of PyTorch's median to JAX's where both were timed."""
    lines = ["| work | jax, s | compiled in, s | torch, s | torch / jax |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ours, theirs = row["seconds"]["jax"], row["seconds"].get("torch")
        compiled = max(0.0, ours["first"] - ours["median"])
        other = (f"{theirs['median']:.2f}", f"{theirs['median'] / ours['median']:.2f}") if theirs else ("", "")
        lines.append(f"| {row['work']} | {ours['median']:.2f} | {compiled:.1f} | {' | '.join(other)} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    device = jax.local_devices()[0].device_kind
    return {
        "device": f"{jax.local_device_count()} x {device}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "jax": metadata.version("jax"),
    }


def _steps(arguments: argparse.Namespace) -> dict[Work, Callable[[], Any]]:
    names, candidates = arguments.methods.split(","), {}
    for name in names:
        if name not in methods.METHODS:
            raise ValueError(unknown("method", name, methods.METHODS))
    for name in names:
        work = f"{name} step, cifar100, batch {arguments.batch_size}"
        if arguments.against:
            candidates[work, "torch"] = _torch().train_step(name, batch_size=arguments.batch_size)
        candidates[work, "jax"] = workloads.train_step(name, preset="cifar100", batch_size=arguments.batch_size)
    return candidates


def _minings(arguments: argparse.Namespace) -> dict[Work, Callable[[], Any]]:
    candidates = {}
    for size in map(int, arguments.sizes.split(",")):
        work = f"mine {size:,} x {arguments.dim}, pool {arguments.pool_size:,}"
        options = {"num_examples": size, "dim": arguments.dim, "pool_size": arguments.pool_size}
        if arguments.against:
            candidates[work, "torch"] = _torch().mine(**options)
        candidates[work, "jax"] = workloads.mine(**options)
    return candidates


def _torch():
    try:
        from experiments import torch_workloads
    except ImportError:
        raise ValueError("--against=torch needs PyTorch: pip install torch") from None
    return torch_workloads


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--against", choices=["torch"], help="what to compare with")
    common.add_argument("--rounds", type=int, default=7, help="how often each is timed after the warm-up")
    common.add_argument("--save", type=Path, help="a JSON file for the figures")
    step = commands.add_parser("step", parents=[common], help="one update of resnet8x4 by resnet32x4")
    step.add_argument("--methods", default="kd,crd,rdd")
    step.add_argument("--batch_size", type=int, default=64)
    step.set_defaults(prepare=_steps)
    mine = commands.add_parser("mine", parents=[common], help="one mining of the contrast table")
    mine.add_argument("--sizes", default="5000,10000")
    mine.add_argument("--dim", type=int, default=256)
    mine.add_argument("--pool_size", type=int, default=1024)
    mine.set_defaults(prepare=_minings)
    return parser


def main() -> None:
    """Prints the table; with --save, keeps the figures."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        candidates = arguments.prepare(arguments)
    except ValueError as error:
        parser.error(str(error))
    rows = seconds(candidates, arguments.rounds)
    if arguments.save:
        arguments.save.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
