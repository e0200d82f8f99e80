"""Times training steps and minings, on request against the same work in PyTorch.

    python -m experiments.benchmark step [--methods=teacher,kd,crd,rdd] [--dtype=bfloat16] [--remembered]
                                         [--peak=TFLOPS] [--against=torch] [--save=FILE.json]
    python -m experiments.benchmark mine [--sizes=5000,10000] [--against=torch] [--save=FILE.json]

Figures are medians of several rounds after a warm-up. In each round all candidates run once, one after the other, so
that other load on the machine affects them alike. Compare ratios: the seconds hold for one machine only.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark import timing, train_step, workloads
from rdd_jax import models
from rdd_jax.core.errors import unknown_name_message

Rows = list[dict[str, Any]]
Prepared = tuple[Callable[[], Rows], Callable[[Rows], str]]  # (measures the rows, formats them as a table)

CONFIGS = Path(__file__).parent.parent.parent / "configs"
_HELP = {
    "methods": "files of configs/, separated by commas; teacher is its training from labels",
    "batch_size": "over all devices",
    "rounds": "timed runs of each after the warm-up",
    "sizes": "numbers of examples, separated by commas",
    "dim": "width of the embeddings",
    "pool_size": "hard negatives of an example",
}


def table(rows: Rows) -> str:
    """Formats the rows of `timing.seconds` as Markdown, with PyTorch's median over JAX's where both were timed."""
    lines = ["| work | jax, s | compiled in, s | torch, s | torch / jax |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ours, theirs = row["seconds"]["jax"], row["seconds"].get("torch")
        compiled = max(0.0, ours["first"] - ours["median"])
        other = (f"{theirs['median']:.2f}", f"{theirs['median'] / ours['median']:.2f}") if theirs else ("", "")
        lines.append(f"| {row['work']} | {ours['median']:.2f} | {compiled:.1f} | {' | '.join(other)} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Describes the devices and versions that the figures were measured with."""
    device = jax.local_devices()[0].device_kind
    return {
        "device": f"{jax.local_device_count()} x {device}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "jax": metadata.version("jax"),
    }


def _steps(arguments: argparse.Namespace) -> Prepared:
    batch_size, peak = arguments.batch_size, arguments.peak
    if arguments.steps < 0 or peak < 0:
        raise ValueError(f"--steps and --peak cannot be negative; got {arguments.steps} and {peak:g}")
    if batch_size < 1 or batch_size % jax.local_device_count():
        raise ValueError(f"--batch_size must be a multiple of the {jax.local_device_count()} devices; got {batch_size}")
    names = _method_names(arguments.methods)
    torch = _torch() if arguments.against else None
    if torch and jax.local_device_count() > 1:
        raise ValueError(f"--against=torch compares on one device, and JAX has {jax.local_device_count()}: show it one")
    # As in the program: a CPU loses its threads inside a loop, other devices wait for the host without one.
    steps = arguments.steps or (1 if jax.default_backend() == "cpu" else 100)
    options = {"batch_size": batch_size, "dtype": arguments.dtype, "steps": steps, "remembered": arguments.remembered}
    candidates = train_step.prepare(names, **options, torch=torch)
    measure = partial(train_step.measure, candidates, rounds=arguments.rounds, steps=steps, batch_size=batch_size)
    return measure, partial(train_step.table, peak=peak)


def _minings(arguments: argparse.Namespace) -> Prepared:
    candidates = {}
    for size in _sizes(arguments):
        work = f"mine {size:,} x {arguments.dim}, pool {arguments.pool_size:,}"
        options = {"num_examples": size, "dim": arguments.dim, "pool_size": arguments.pool_size}
        if arguments.against:
            candidates[work, "torch"] = _torch().mine(**options)
        candidates[work, "jax"] = workloads.mine(**options)
        candidates[f"{work}, teacher ranked before", "jax"] = workloads.mine(**options, ranked=True)
    return partial(timing.seconds, candidates, arguments.rounds), table


def _method_names(text: str) -> list[str]:
    names = text.split(",")
    known = sorted(path.stem for path in CONFIGS.glob("*.py"))
    for name in names:
        if name not in known:
            raise ValueError(unknown_name_message("method", name, known))
    return names


def _sizes(arguments: argparse.Namespace) -> list[int]:
    text = arguments.sizes
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise ValueError(f'--sizes takes whole numbers above 0 with commas between them; got "{text}"')
    if not 1 <= arguments.pool_size < min(sizes):
        raise ValueError(f"--pool_size must be in [1, {min(sizes) - 1}], below every size; got {arguments.pool_size}")
    return sizes


def _torch():
    try:
        from experiments.benchmark import torch_workloads
    except ImportError:
        raise ValueError("--against=torch needs PyTorch: pip install torch") from None
    return torch_workloads


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def add(name: str, prepare: Callable[[argparse.Namespace], Prepared], words: str, **options: str | int):
        command = commands.add_parser(name, help=words)
        command.set_defaults(prepare=prepare)
        command.add_argument("--save", type=Path, help="a JSON file for the figures")
        for option, default in options.items():
            command.add_argument(f"--{option}", type=type(default), default=default, help=_HELP.get(option))
        return command

    steps = add("step", _steps, "one update of resnet8x4 by resnet32x4", methods="kd,crd,rdd", batch_size=64, rounds=7)
    steps.add_argument("--dtype", choices=list(models.DTYPES), default="float32", help="of the networks' computation")
    steps.add_argument("--steps", type=int, default=0, help="updates in one call; 0: 1 on a CPU, 100 elsewhere")
    steps.add_argument("--peak", type=float, default=0.0, help="of the device in TFLOP/s; adds the share of it reached")
    steps.add_argument("--remembered", action="store_true", help="also with the teacher's outputs read from memory")
    mining = {"sizes": "5000,10000", "dim": 256, "pool_size": 1024, "rounds": 7}
    minings = add("mine", _minings, "one mining of the contrast table", **mining)
    for command in (steps, minings):
        command.add_argument("--against", choices=["torch"], help="also time the same work in PyTorch")
    return parser


def main() -> None:
    """Prints the table; with --save, keeps the figures."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        if arguments.rounds < 1:
            raise ValueError(f"--rounds must be at least 1; got {arguments.rounds}")
        measure, show = arguments.prepare(arguments)
    except ValueError as error:
        parser.error(str(error))
    rows = measure()
    if arguments.save:
        arguments.save.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(show(rows))


if __name__ == "__main__":
    main()
