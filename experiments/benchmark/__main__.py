"""Times training steps and minings, on request beside the same work in PyTorch.

    python -m experiments.benchmark step [--methods=teacher,kd,crd,rdd] [--dtype=bfloat16] [--cached]
                                         [--peak=TFLOPS] [--against=torch] [--save=FILE.json]
    python -m experiments.benchmark mining [--sizes=5000,10000] [--against=torch] [--save=FILE.json]

Times are medians of several rounds after a warm-up. All candidates run once in each round, one after the other, so that
other load on the machine affects them alike. Compare ratios: the seconds hold for one machine only.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.benchmark import mining, timing, train_step
from rdd_jax import models
from rdd_jax.core.errors import unknown_name_message

_CONFIGS = Path(__file__).parent.parent.parent / "configs"


class _Benchmark(NamedTuple):
    measure: Callable[[], Sequence[timing.Row]]
    table: Callable[[Sequence[timing.Row]], str]


def main() -> None:
    """Prints the table and, with --save, writes the times to a file."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        if arguments.rounds < 1:
            raise ValueError(f"--rounds must be at least 1; got {arguments.rounds}")
        benchmark = arguments.prepare(arguments)
    except ValueError as error:
        parser.error(str(error))
    rows = benchmark.measure()
    if arguments.save:
        arguments.save.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=1) + "\n")
    print(benchmark.table(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step", help="an update of resnet8x4 with teacher resnet32x4")
    step.set_defaults(prepare=_steps)
    step.add_argument("--methods", default="kd,crd,rdd", help="files of configs/; teacher is its training from labels")
    step.add_argument("--batch_size", type=int, default=64, help="over all devices")
    step.add_argument("--dtype", choices=list(models.DTYPES), default="float32", help="of the networks' computation")
    step.add_argument("--steps", type=int, default=0, help="updates in one call; 0: 1 on a CPU, 100 elsewhere")
    step.add_argument("--peak", type=float, default=0.0, help="of the device in TFLOP/s; adds the share of it reached")
    step.add_argument("--cached", action="store_true", help="also with the teacher's outputs read from memory")
    mine = commands.add_parser("mining", help="one mining of the contrast table")
    mine.set_defaults(prepare=_minings)
    mine.add_argument("--sizes", default="5000,10000", help="numbers of examples")
    mine.add_argument("--dim", type=int, default=256, help="width of the embeddings")
    mine.add_argument("--pool_size", type=int, default=1024, help="hard negatives of an example")
    for command in (step, mine):
        command.add_argument("--rounds", type=int, default=7, help="timed runs of each candidate after the warm-up")
        command.add_argument("--against", choices=["torch"], help="also time the same work in PyTorch")
        command.add_argument("--save", type=Path, help="a JSON file for the times")
    return parser


def _steps(arguments: argparse.Namespace) -> _Benchmark:
    batch_size, devices = arguments.batch_size, jax.local_device_count()
    if arguments.steps < 0 or arguments.peak < 0:
        raise ValueError(f"--steps and --peak cannot be negative; got {arguments.steps} and {arguments.peak:g}")
    if batch_size < 1 or batch_size % devices:
        raise ValueError(f"--batch_size must be a multiple of the {devices} devices; got {batch_size}")
    if arguments.against and devices > 1:
        raise ValueError(f"--against=torch compares on one device, and JAX has {devices}: make one visible")
    # As in the trainer: XLA's loop runs on one thread of a CPU; other devices would wait for the host without it.
    steps = arguments.steps or (1 if jax.default_backend() == "cpu" else 100)
    candidates = train_step.prepare(
        _method_names(arguments.methods),
        batch_size=batch_size,
        dtype=arguments.dtype,
        steps=steps,
        cached=arguments.cached,
        torch=_torch(arguments),
    )
    measure = partial(train_step.measure, candidates, rounds=arguments.rounds, steps=steps, batch_size=batch_size)
    return _Benchmark(measure, partial(train_step.table, peak=arguments.peak))


def _minings(arguments: argparse.Namespace) -> _Benchmark:
    sizes = _sizes(arguments.sizes, arguments.pool_size)
    candidates = mining.prepare(sizes, dim=arguments.dim, pool_size=arguments.pool_size, torch=_torch(arguments))
    return _Benchmark(partial(timing.measure, candidates, arguments.rounds), mining.table)


def _method_names(text: str) -> list[str]:
    names = text.split(",")
    known = sorted(path.stem for path in _CONFIGS.glob("*.py"))
    for name in names:
        if name not in known:
            raise ValueError(unknown_name_message("method", name, known))
    return names


def _sizes(text: str, pool_size: int) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise ValueError(f'--sizes takes whole numbers above 0 with commas between them; got "{text}"')
    if not 1 <= pool_size < min(sizes):
        raise ValueError(f"--pool_size must be in [1, {min(sizes) - 1}], below every size; got {pool_size}")
    return sizes


def _torch(arguments: argparse.Namespace) -> train_step.TorchWorkloads | None:
    if not arguments.against:
        return None
    try:
        from experiments.benchmark import torch_workloads
    except ImportError:
        raise ValueError("--against=torch needs PyTorch: pip install torch") from None
    return torch_workloads


def _machine() -> dict[str, str]:
    device = jax.local_devices()[0].device_kind
    return {
        "device": f"{jax.local_device_count()} x {device}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "jax": metadata.version("jax"),
    }


if __name__ == "__main__":
    main()
