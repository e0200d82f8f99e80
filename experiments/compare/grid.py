"""Plans a grid of runs: methods, varied settings and seeds become configurations and workdirs."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rdd_jax.cli import command_line
from rdd_jax.core.errors import UserError
from rdd_jax.runs import naming, records
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.training import config_checks


class Row(NamedTuple):
    """A row of a comparison: the method of configs/FILE.py with settings such as "mining.kind=once"."""

    label: str
    file: str
    settings: tuple[str, ...] = ()


class Point(NamedTuple):
    """A run of the grid: a row at one seed."""

    label: str
    seed: int
    config: RunConfig
    workdir: Path


def product(methods: Sequence[str], vary: Mapping[str, Sequence[str]]) -> list[Row]:
    """Returns a row for every method with every combination of the values of the varied keys."""
    axes = [[f"{key}={value}" for value in values] for key, values in vary.items()]
    return [
        Row(" ".join((method, *settings)), method, settings)
        for method in methods
        for settings in itertools.product(*axes)
    ]


def plan(
    rows: Sequence[Row], seeds: Sequence[int], *, preset: str, overrides: Sequence[str], folder: Path
) -> list[Point]:
    """Returns the runs of all rows at all seeds, those of the first seed first.

    A workdir is named by the run and by the settings that differ from its method's file. Grids with the same folder
    therefore share the runs that they have in common.

    Args:
        rows: what to compare; no two may be the same run.
        seeds: for each row.
        preset: of rdd_jax.runs.presets.
        overrides: "KEY=VALUE" for all runs.
        folder: where the workdirs are.

    Raises:
        UserError: a row, setting or override is not valid. Nothing has been written then.
    """
    points = [_point(row, seed, preset, overrides, folder) for seed in seeds for row in rows]
    workdirs = [point.workdir for point in points]
    for point in points:
        if workdirs.count(point.workdir) > 1:
            raise UserError(f"two rows are the same run, {point.workdir.name}: give each method and value once")
        config_checks.check(point.config, point.workdir, hint="choose another --out")
    _check_shared(points)
    return points


def _point(row: Row, seed: int, preset: str, overrides: Sequence[str], folder: Path) -> Point:
    for setting in (*row.settings, *overrides):
        if setting.startswith("seed="):
            raise UserError(f"{setting}: the seeds of a comparison are 0, 1, ... up to --seeds")
    flags = [f"--config={row.file}:{preset}", f"--config.seed={seed}"]
    flags += [f"--config.{override}" for override in overrides]
    default = command_line.configuration(flags)
    config = command_line.configuration(flags + [f"--config.{setting}" for setting in row.settings])
    changed = differences(default, config)
    suffix = "".join(f"-{setting}" for setting in row.settings if setting.partition("=")[0] in changed)
    name, _, number = naming.run_name(default).rpartition("-seed")
    return Point(row.label, seed, config, folder / f"{name}{suffix}-seed{number}".replace("/", "_"))


def _check_shared(points: Sequence[Point]) -> None:
    """Raises a UserError where two runs share the workdir of a teacher but need different ones."""
    needed: dict[Path, RunConfig] = {}
    for point in points:
        for config, workdir in naming.required_runs(point.config, point.workdir):
            changed = differences(needed.setdefault(workdir, config), config)
            if changed and not records.is_finished(workdir):
                raise UserError(
                    f"the runs would need teachers that differ in {', '.join(changed)}, and share {workdir}: train "
                    "that first by configs/teacher.py, or give one by --config.teacher.checkpoint"
                )
