"""What a configuration means: its name, its teacher, its place on disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_collections

from rdd_jax import methods
from rdd_jax.errors import UserError
from rdd_jax.files import write_json

RUNS = Path("runs")
FILE = "config.json"
SUMMARY = "summary.json"
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def run_name(config: ml_collections.ConfigDict) -> str:
    """<method>-<preset>-seed<seed>; a run without a teacher is one: teacher-<preset>-<network>-seed<seed>."""
    first = methods.label(config.distill) if config.teacher.name else "teacher"
    network = "" if config.teacher.name else f"-{config.student.name}"
    return f"{first}-{config.preset}{network}-seed{config.seed}"


def teacher_config(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The run that trains this run's teacher: the same data and recipe, the teacher's keys, labels alone."""
    teacher = ml_collections.ConfigDict(config.to_dict())
    teacher.student.name = config.teacher.name
    for key in ("seed", "epochs", "learning_rate"):
        teacher[key] = config.teacher[key]
    teacher.teacher.name = teacher.teacher.checkpoint = ""
    for name, options in teacher.distill.items():
        options.weight = float(name == methods.LABELS_ALONE)
    return teacher


def teacher_workdir(config: ml_collections.ConfigDict) -> Path:
    """Where the teacher is: the checkpoint asked for, else the place of the run that trains it."""
    return Path(config.teacher.checkpoint or RUNS / run_name(teacher_config(config)))


def read(workdir: Path) -> ml_collections.ConfigDict:
    """The configuration that a run left in its workdir.

    Raises:
        UserError: where there is none, or it is damaged.
    """
    path = workdir / FILE
    try:
        return ml_collections.ConfigDict(json.loads(path.read_text()))
    except OSError:
        raise UserError(f"there is no run in {workdir}: it has no {FILE}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): choose another workdir") from None


def is_finished(workdir: Path) -> bool:
    """Whether the run in that workdir came to its end."""
    return (workdir / SUMMARY).exists()


def read_summary(workdir: Path) -> dict[str, Any]:
    """The results that a finished run left in its workdir."""
    return json.loads((workdir / SUMMARY).read_text())


def write(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Makes the workdir this run's own."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / FILE, config.to_dict())


def differences(one: ml_collections.ConfigDict, other: ml_collections.ConfigDict) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configurations differ, with both values; None where a key is missing."""
    flat, other_flat = dict(_flatten(one.to_dict())), dict(_flatten(other.to_dict()))
    pairs = {key: (flat.get(key), other_flat.get(key)) for key in sorted(flat.keys() | other_flat.keys())}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            # A tuple comes back from JSON as a list.
            yield prefix + key, list(value) if isinstance(value, tuple) else value
