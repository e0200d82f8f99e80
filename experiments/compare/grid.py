"""A grid of runs, rows by seeds: planned, trained with one shared teacher, and read back from their workdirs.

A run that is finished is never trained again, and one that was stopped goes on, as their workdirs say: nothing else
remembers how far a grid is, so a crash at any moment loses nothing.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import tqdm

from experiments.compare import student_metrics
from rdd_jax.cli import command_line
from rdd_jax.core import io
from rdd_jax.core.errors import TrainingDiverged, UserError
from rdd_jax.core.processes import warn
from rdd_jax.core.progress import ImageBar, Progress
from rdd_jax.data import loading
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.training import validation
from rdd_jax.training.run import train, train_shared
from rdd_jax.training.setup import make_sampler

_DIVERGED = "diverged.json"  # In the workdir of a run that came to no end: it is not tried again.
# What a run spends on looking at its whole training set, by the keys of metrics.jsonl.
LOOKS = ("drift_seconds", "embed_seconds", "mine_seconds")


class Row(NamedTuple):
    """What is compared: a method's configs/FILE.py with settings such as "mining.kind=once"."""

    label: str
    file: str
    settings: tuple[str, ...] = ()


class Point(NamedTuple):
    """One run of the grid."""

    label: str
    seed: int
    config: RunConfig
    workdir: Path


def product(methods: Sequence[str], vary: Mapping[str, Sequence[str]]) -> list[Row]:
    """Every method with every combination of the values of the varied keys."""
    axes = [[f"{key}={value}" for value in values] for key, values in vary.items()]
    return [
        Row(" ".join((method, *settings)), method, settings)
        for method in methods
        for settings in itertools.product(*axes)
    ]


def plan(
    rows: Sequence[Row], seeds: Sequence[int], *, preset: str, overrides: Sequence[str], folder: Path
) -> list[Point]:
    """The runs, all rows of a seed before the next seed.

    A workdir is named by the run and by those settings in which it differs from its method's file, so that grids in the
    same folder share what they have in common.

    Args:
        rows: of which no two may be the same run.
        seeds: of each.
        preset: of rdd_jax.runs.presets.
        overrides: "KEY=VALUE" for all runs alike.
        folder: where the workdirs are.

    Raises:
        UserError: for a mistake in them, before anything is written.
    """
    points = [_point(row, seed, preset, overrides, folder) for seed in seeds for row in rows]
    places = [point.workdir for point in points]
    for point in points:
        if places.count(point.workdir) > 1:
            raise UserError(f"two rows are the same run, {point.workdir.name}: give each method and value once")
        validation.check(point.config, point.workdir, mend="choose another --out")
    _check_shared(points)
    return points


def _check_shared(points: Sequence[Point]) -> None:
    """What several runs need is trained once, so that all of them have to want the same."""
    wanted: dict[Path, RunConfig] = {}
    needed = (naming.prerequisites(point.config, point.workdir) for point in points)
    for config, place in itertools.chain.from_iterable(needed):
        changed = differences(wanted.setdefault(place, config), config)
        if changed and not records.is_finished(place):
            raise UserError(
                f"the runs would need teachers that differ in {', '.join(changed)}, and share {place}: train that "
                "first by configs/teacher.py, or give one by --config.teacher.checkpoint"
            )


def _point(row: Row, seed: int, preset: str, overrides: Sequence[str], folder: Path) -> Point:
    for setting in (*row.settings, *overrides):
        if setting.startswith("seed="):
            raise UserError(f"{setting}: the seeds of a comparison are 0, 1, ... up to --seeds")
    flags = [f"--config={row.file}:{preset}", f"--config.seed={seed}"]
    flags += [f"--config.{override}" for override in overrides]
    plain = command_line.configuration(flags)
    config = command_line.configuration(flags + [f"--config.{setting}" for setting in row.settings])
    changed = differences(plain, config)
    own = "".join(f"-{setting}" for setting in row.settings if setting.partition("=")[0] in changed)
    name, _, number = naming.run_name(plain).rpartition("-seed")
    return Point(row.label, seed, config, folder / f"{name}{own}-seed{number}".replace("/", "_"))


def run(points: Sequence[Point], shard: tuple[int, int] = (1, 1)) -> None:
    """Trains and measures what is not finished, under one progress bar; a run that diverges is left at that.

    Args:
        points: the whole grid.
        shard: (i, n): of n processes this is the i-th, from 1, and does every n-th run.

    Raises:
        UserError: where another process is at one of its own runs, or a file is damaged.
    """
    own = points[shard[0] - 1 :: shard[1]]
    # Those of the whole grid: also a run that needs no teacher names the accuracy of one that is there.
    shared = {place: config for point in points for config, place in naming.prerequisites(point.config, point.workdir)}
    work = [(config, place) for place, config in shared.items()] + [(point.config, point.workdir) for point in own]
    work = [(config, place) for config, place in work if not _is_over(place)]
    with ImageBar(sum(_count_images(config) for config, _ in work)) as bar:
        for number, (config, place) in enumerate(work, start=1):
            show = partial(_progress, f"[{number}/{len(work)}]", bar)
            if place in shared:
                with _silent():
                    train_shared(config, place, show)
            else:
                _train_if_it_converges(config, place, show)
    for point in tqdm.tqdm(own, desc="measuring", unit="run"):
        if records.is_finished(point.workdir):
            student_metrics.keep(point.workdir)


def _is_over(place: Path) -> bool:
    return records.is_finished(place) or (place / _DIVERGED).exists()


def _progress(part: str, bar: ImageBar, title: str, **images: int) -> Progress:
    return Progress(f"{part} {title}", bar=bar, **images)


def _silent() -> contextlib.AbstractContextManager:
    """Suppresses what a run prints beside its bar: it would break the bar of the grid, and is in the run's files."""
    return contextlib.redirect_stdout(None)


def _train_if_it_converges(config: RunConfig, place: Path, show: partial) -> None:
    try:
        with _silent():
            train(config, place, show)
    except TrainingDiverged as error:
        warn(f"{place.name}: {error}")
        io.write_json(place / _DIVERGED, {"message": str(error)})


def _count_images(config: RunConfig) -> int:
    sampler = make_sampler(config, loading.describe(config.data).num_train)
    return config.batch_size * sum(sampler.steps(epoch) for epoch in range(config.epochs))


def results(points: Iterable[Point]) -> list[dict[str, Any]]:
    """What the runs of a grid have written that are over, one dict each: the "runs" of results.json.

    The accuracies of those that diverged are NaN, so that they count as tried.
    """
    return [_result(point) for point in points if _is_over(point.workdir)]


def _result(point: Point) -> dict[str, Any]:
    summary = records.read_summary(point.workdir) if records.is_finished(point.workdir) else _diverged(point.config)
    lines = io.read_json_lines(point.workdir / layout.METRICS)
    train_lines, test_lines = ([line for line in lines if line["split"] == split] for split in ("train", "test"))
    return {
        "label": point.label,
        "seed": point.seed,
        "summary": summary,
        "epochs": [line["epoch"] for line in test_lines],
        "test_accuracy": [line["accuracy"] for line in test_lines],
        "test_loss": [line["loss"] for line in test_lines],
        "train_accuracy": [line["accuracy"] for line in train_lines],
        "train_loss": [line["loss"] for line in train_lines],
        # A run that went on in the middle of an epoch has lost the seconds of the mining before it, not the mining.
        "minings": len({line["step"] for line in io.read_json_lines(point.workdir / layout.HISTOGRAMS)}),
        "mine_seconds": sum(line.get(key, 0.0) for line in train_lines for key in LOOKS),
        "measures": student_metrics.kept(point.workdir),
    }


def _diverged(config: RunConfig) -> dict[str, Any]:
    """What stands for the summary of a run that came to no end."""
    student = {"name": config.student.name, "accuracy": math.nan, "best_accuracy": math.nan}
    return {"student": student, "teacher": None, "epochs": config.epochs, "wall_seconds": math.nan, "devices": ""}
