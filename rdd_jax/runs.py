"""What a run is called, where it lives, and what its configuration says of its teacher."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_collections

from rdd_jax import files, methods
from rdd_jax.errors import UserError

RUNS = Path("runs")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def run_name(config: ml_collections.ConfigDict) -> str:
    """<method>-<preset>-seed<seed>, or teacher-<preset>-<network>-seed<seed>."""
    data = config.preset if config.dataset == config.preset else f"{config.preset}-{config.dataset}"
    first, last = methods.label(config.distill), f"seed{config.seed}"
    return f"teacher-{data}-{config.student.name}-{last}" if config.trains_teacher else f"{first}-{data}-{last}"


def teacher_config(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The run that trains this run's teacher: the same data and recipe, the teacher's own keys, labels alone."""
    teacher = ml_collections.ConfigDict(config.to_dict())
    teacher.trains_teacher = True
    teacher.student.name = config.teacher.name
    for key in ("seed", "epochs", "learning_rate"):
        teacher[key] = config.teacher[key]
    teacher.teacher.update({"name": "", "checkpoint": "", "seed": 0, "epochs": 1, "learning_rate": 1.0})
    teacher.teacher.update({"cache": "none", "cache_dtype": "float32", "cache_gigabytes": 4.0})
    # What no teacher reads must not tell two teachers apart.
    for name, options in teacher.distill.items():
        options.update({"weight": float(name == methods.LABELS_ALONE), **methods.options(name)})
    teacher.update(
        {
            "refresh_epochs": 0,
            "refresh_ranks_gigabytes": 1.0,
            "eval_every_epochs": 1,
            "checkpoint_every_epochs": 1.0,
            "steps_per_call": 0,
        }
    )
    return teacher


def teacher_place(config: ml_collections.ConfigDict) -> Path:
    """Where the teacher is: the workdir or file of weights asked for, else the workdir of the run that trains it."""
    return Path(config.teacher.checkpoint or RUNS / run_name(teacher_config(config)))


def read_config(workdir: Path) -> ml_collections.ConfigDict:
    """The configuration that a run left in its workdir.

    Raises:
        UserError: where there is none, or it is damaged.
    """
    path = workdir / files.CONFIG
    try:
        content = json.loads(path.read_text())
        content["student"]["name"], content["dataset"]
        return ml_collections.ConfigDict(content)
    except OSError:
        raise UserError(f"there is no run in {workdir}: it has no {files.CONFIG}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): choose another workdir") from None


def write_config(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Makes the workdir this run's own."""
    files.write_json(workdir / files.CONFIG, config.to_dict())


def is_finished(workdir: Path) -> bool:
    """Whether the run in that workdir came to its end."""
    return (workdir / files.SUMMARY).exists()


def read_summary(workdir: Path) -> dict[str, Any]:
    """The results that a finished run left in its workdir."""
    return json.loads((workdir / files.SUMMARY).read_text())


def differences(one: ml_collections.ConfigDict, other: ml_collections.ConfigDict) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configurations differ, with both values; None where a key is missing."""
    flat, other_flat = _flat(one), _flat(other)
    pairs = {key: (flat.get(key), other_flat.get(key)) for key in sorted(flat.keys() | other_flat.keys())}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(config: ml_collections.ConfigDict) -> dict[str, Any]:
    # A tuple comes back from JSON as a list.
    leaves = files.flatten(config.to_dict())
    return {key: list(value) if isinstance(value, tuple) else value for key, value in leaves}
