"""Seconds, bytes and threads' time of steps and minings; against PyTorch where it is asked for.

    python -m experiments.benchmark step [--methods=teacher,kd,crd,rdd] [--dtype=bfloat16] [--remembered]
                                         [--peak=TFLOPS] [--against=torch] [--save=FILE.json]
    python -m experiments.benchmark mine [--sizes=5000,10000] [--against=torch] [--save=FILE.json]
    python -m experiments.benchmark memory [--methods=kd,crd,rdd] [--sizes=5000,10000,50000]
    python -m experiments.benchmark scaling [--devices=1,2,4,8]       fake devices on one CPU: what splitting costs
    python -m experiments.benchmark seeds [--methods=kd,rdd] [--seeds=2,4]    several at once, by vmap
    python -m experiments.benchmark input [--methods=kd,rdd]          what the loop costs beside the compiled step
    python -m experiments.benchmark profile [--methods=kd,rdd]        where the time of a step goes, on the CPU

Figures are medians of several rounds after a warm-up. What one process can time takes turns in each round, so that a
busy moment of the machine falls on all. Ratios are what to read: seconds are the machine's.
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

from configs.base import PRESETS
from experiments import (
    fresh_process,
    measure_input,
    measure_memory,
    measure_profile,
    measure_scaling,
    measure_seeds,
    measure_steps,
    timing,
    workloads,
)
from rdd_jax import methods, runs
from rdd_jax.data import datasets
from rdd_jax.errors import unknown

Rows = list[dict[str, Any]]
Prepared = tuple[Callable[[], Rows], Callable[[Rows], str]]  # What measures, and what makes the table.

_HELP = {
    "methods": "names with commas between them",
    "preset": "of the configurations: data set and networks",
    "batch_size": "over all devices",
    "rounds": "how often each is timed after the warm-up",
    "sizes": "numbers of examples, with commas between them",
    "dim": "of the embeddings",
    "pool_size": "hard negatives an example",
    "devices": "how many, with commas between the numbers",
    "seeds": "how many at once, with commas between the numbers",
}


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


def _steps(arguments: argparse.Namespace) -> Prepared:
    batch_size, peak = arguments.batch_size, arguments.peak
    if arguments.steps < 0 or peak < 0:
        raise ValueError(f"--steps and --peak cannot be negative; got {arguments.steps} and {peak:g}")
    names = _method_names(arguments, also=("teacher",))
    _check_devices(arguments, [jax.local_device_count()])
    torch = _torch() if arguments.against else None
    if torch and jax.local_device_count() > 1:
        raise ValueError(f"--against=torch compares on one device, and JAX has {jax.local_device_count()}: show it one")
    # As in the program: a CPU loses its threads inside a loop, other devices wait for the host without one.
    steps = arguments.steps or (1 if jax.default_backend() == "cpu" else 100)
    options = {"batch_size": batch_size, "dtype": arguments.dtype, "steps": steps, "remembered": arguments.remembered}
    candidates = measure_steps.prepare(names, **options, torch=torch)
    measure = partial(measure_steps.measure, candidates, rounds=arguments.rounds, steps=steps, batch_size=batch_size)
    return measure, partial(measure_steps.table, peak=peak)


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


def _memory(arguments: argparse.Namespace) -> Prepared:
    names, sizes, step = _method_names(arguments), _sizes(arguments), _step_options(arguments)
    _check_devices(arguments, [fresh_process.call("experiments.fresh_process:devices", {})["count"]])
    measure = partial(measure_memory.measure, names, **step, sizes=sizes, dim=arguments.dim)
    return partial(measure, pool_size=arguments.pool_size), measure_memory.table


def _scaling(arguments: argparse.Namespace) -> Prepared:
    names, devices, step = _method_names(arguments), _numbers("devices", arguments.devices), _step_options(arguments)
    _check_devices(arguments, devices)
    measure = partial(measure_scaling.measure, names, devices=devices, **step, rounds=arguments.rounds)
    return measure, measure_scaling.table


def _seeds(arguments: argparse.Namespace) -> Prepared:
    names, seeds, step = _method_names(arguments), _numbers("seeds", arguments.seeds), _step_options(arguments)
    _check_devices(arguments, [jax.local_device_count()])
    return partial(measure_seeds.measure, names, **step, seeds=seeds, rounds=arguments.rounds), measure_seeds.table


def _input(arguments: argparse.Namespace) -> Prepared:
    names, step = _method_names(arguments), _step_options(arguments)
    _check_devices(arguments, [jax.local_device_count()])
    datasets.check(PRESETS[arguments.preset]["dataset"])
    return partial(measure_input.measure, names, **step, rounds=arguments.rounds), measure_input.table


def _profile(arguments: argparse.Namespace) -> Prepared:
    names, step = _method_names(arguments), _step_options(arguments)
    devices = fresh_process.call("experiments.fresh_process:devices", {})
    if devices["backend"] != "cpu":
        raise ValueError(f"profile reads the CPU's threads alone, not {devices['backend']}: set JAX_PLATFORMS=cpu")
    _check_devices(arguments, [devices["count"]])
    return partial(measure_profile.measure, names, **step), measure_profile.table


def _method_names(arguments: argparse.Namespace, also: tuple[str, ...] = ()) -> list[str]:
    names, known = arguments.methods.split(","), (*also, *methods.METHODS)
    for name in names:
        if name not in known:
            raise ValueError(unknown("method", name, known))
    return names


def _step_options(arguments: argparse.Namespace) -> dict[str, Any]:
    preset, batch_size = arguments.preset, arguments.batch_size
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    images = datasets.describe(PRESETS[preset]["dataset"]).num_train
    if not 1 <= batch_size <= images:
        raise ValueError(f"--batch_size must be in [1, {images}], the images of {preset}; got {batch_size}")
    return {"preset": preset, "batch_size": batch_size}


def _check_devices(arguments: argparse.Namespace, devices: list[int]) -> None:
    for count in devices:
        if arguments.batch_size % count:
            raise ValueError(
                f"--batch_size={arguments.batch_size} does not divide by {count} devices: choose a multiple"
            )


def _sizes(arguments: argparse.Namespace) -> list[int]:
    sizes = _numbers("sizes", arguments.sizes)
    if not 1 <= arguments.pool_size < min(sizes):
        raise ValueError(f"--pool_size must be in [1, {min(sizes) - 1}], below every size; got {arguments.pool_size}")
    return sizes


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise ValueError(f'--{option} takes whole numbers above 0 with commas between them; got "{text}"')
    return numbers


def _torch():
    try:
        from experiments import torch_workloads
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

    remembered = "also with the teacher's views remembered, for methods that read no maps"
    step, mining = {"methods": "kd,crd,rdd", "batch_size": 64}, {"sizes": "5000,10000", "dim": 256, "pool_size": 1024}
    steps = add("step", _steps, "one update of resnet8x4 by resnet32x4", **step, rounds=7)
    steps.add_argument("--dtype", choices=list(runs.DTYPES), default="float32", help="of the networks' computation")
    steps.add_argument("--steps", type=int, default=0, help="in one call; 0: 1 on a CPU, 100 elsewhere")
    steps.add_argument("--peak", type=float, default=0.0, help="of the device in TFLOP/s, to tell what share is used")
    steps.add_argument("--remembered", action="store_true", help=remembered)
    for timed in (steps, add("mine", _minings, "one mining of the contrast table", **mining, rounds=7)):
        timed.add_argument("--against", choices=["torch"], help="what to compare with")
    mining["sizes"] = "5000,10000,50000"
    add("memory", _memory, "what a step and a mining hold", **step, preset="cifar100", **mining)
    step["methods"] = "kd,rdd"
    add("scaling", _scaling, "a step on several devices", **step, preset="digits", devices="1,2,4,8", rounds=3)
    add("seeds", _seeds, "several seeds at once", **step, preset="digits", seeds="2,4", rounds=7)
    add("input", _input, "the loop beside its steps", **step, preset="digits", rounds=7)
    add("profile", _profile, "where a step's time goes", **step, preset="cifar100")
    return parser


def main() -> None:
    """Prints the table; with --save, keeps the figures."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        if getattr(arguments, "rounds", 1) < 1:
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
