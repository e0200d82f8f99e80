"""What a run is called, where it lives, and what its configuration says of its teacher."""

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_collections

from rdd_jax import files, methods, models
from rdd_jax.data import choice, datasets, sampling
from rdd_jax.data.datasets import DatasetInfo
from rdd_jax.errors import UserError, unknown

RUNS = Path("runs")  # Where runs live whose workdir is not given; nothing else is looked for there.
# What no teacher's run reads must not tell two teachers apart.
UNREAD_BY_TEACHERS = {
    "teacher": {
        **{"name": "", "checkpoint": "", "seed": 0, "epochs": 1, "learning_rate": 1.0},
        **{"cache": "none", "cache_dtype": "float32", "cache_gigabytes": 4.0},
    },
    "refresh": {
        **{"kind": "every", "start_epoch": 1, "epochs": 5},
        **{"threshold": 0.5, "probe": 1024, "ranks_gigabytes": 1.0},
    },
    "sampler": sampling.options(),
    "pair": "",
    "eval_every_epochs": 1,
    "checkpoint_every_epochs": 1.0,
    "keep_all_checkpoints": False,
    "steps_per_call": 0,
}
# The keys that make a trained teacher the one that a run asks for; the rest of its recipe is its own.
TEACHER_KEYS = {
    *("dataset", "data.folder", "data.image_size", "data.crop_share", "data.validation"),
    *("student.name", "seed", "epochs", "learning_rate"),
}
# Without these a config.json is no run's.
_REQUIRED = [
    *("dataset", "dtype", "epochs", "learning_rate", "student.name", "trains_teacher"),
    *(key for key, _ in files.flatten(UNREAD_BY_TEACHERS | {"data": choice.options()})),
]
_WRITE_ANEW = "delete it, and the command of the run writes it again"
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def method_name(config: ml_collections.ConfigDict) -> str:
    """The methods of a run, joined by "+", and its sampler where that is not the plain one: "kd-curriculum"."""
    name, sampler = methods.label(config.distill), config.sampler.kind
    return name if sampler == "full" else f"{name}-{sampler}"


def run_name(config: ml_collections.ConfigDict) -> str:
    """<method>-<preset>[-<pair>]-seed<seed>, or teacher-<preset>-<network>-seed<seed>."""
    dataset = choice.name(config)
    # The preset `folder` is for whatever folder is given, whose name says more.
    data = dataset if config.preset in (dataset, "folder") else f"{config.preset}-{dataset}"
    data = f"{data}-{config.pair}" if config.pair else data
    if not config.trains_teacher:
        return f"{method_name(config)}-{data}-seed{config.seed}"
    part = "" if config.sampler.kind == "full" else f"-{config.sampler.kind}"
    return f"teacher-{data}-{config.student.name}{part}-seed{config.seed}"


def teacher_config(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The run that trains this run's teacher: the same data and recipe, the teacher's own keys, labels alone."""
    teacher = ml_collections.ConfigDict(config.to_dict())
    teacher.trains_teacher = True
    teacher.student.name = config.teacher.name
    for key in ("seed", "epochs", "learning_rate"):
        teacher[key] = config.teacher[key]
    teacher.update(UNREAD_BY_TEACHERS)
    for name, options in teacher.distill.items():
        options.update({"weight": float(name == methods.LABELS_ALONE), **methods.options(name)})
    return teacher


def shared_folder(workdir: Path) -> Path:
    """The folder that the workdir is in; it also has what runs share: teachers, cached views, compiled programs."""
    named = workdir if workdir.name not in ("", "..") else Path(os.path.abspath(workdir))
    return named.parent


def needs_teacher(config: ml_collections.ConfigDict) -> bool:
    """Tells whether methods or sampler use a teacher: cross-entropy alone, of the usual batches, does not."""
    return methods.label(config.distill) != methods.LABELS_ALONE or config.sampler.kind in sampling.RANKED


def teacher_place(config: ml_collections.ConfigDict, workdir: Path) -> Path | None:
    """The workdir or the file of weights of a run's teacher; None for a run that has none.

    This is `teacher.checkpoint` where it is set, and else the workdir of the run that trains the teacher, in the shared
    folder. A run whose teacher is no longer there has it from the place in its teacher.json. A run that needs no
    teacher has one only where that very teacher is trained already: its accuracy is reported.
    """
    if not config.teacher.name:
        return None
    if config.teacher.checkpoint:
        return Path(config.teacher.checkpoint)
    usual, recorded = _usual_teacher_place(config, workdir), read_teacher(workdir).get("place")
    if not is_finished(usual) and recorded and (is_finished(Path(recorded)) or Path(recorded).is_file()):
        return Path(recorded)
    return usual if needs_teacher(config) or _is_trained(teacher_config(config), usual) else None


def _is_trained(wanted: ml_collections.ConfigDict, workdir: Path) -> bool:
    """Tells whether the teacher in a workdir is trained to its end, and is the one wanted."""
    return is_finished(workdir) and not TEACHER_KEYS & differences(read_config(workdir), wanted).keys()


def _usual_teacher_place(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    return shared_folder(workdir) / run_name(teacher_config(config))


def holdout_config(config: ml_collections.ConfigDict, part: str) -> ml_collections.ConfigDict:
    """The run that trains the run's own network on the "even" or "odd" images: a judge of the others, by RHO-LOSS."""
    holdout = teacher_config(config)
    holdout.student.name = config.student.name
    holdout.sampler.kind = part
    return holdout


def prerequisites(config: ml_collections.ConfigDict, workdir: Path) -> list[tuple[ml_collections.ConfigDict, Path]]:
    """The runs that have to be finished before the run in `workdir`, each with its own workdir in the shared folder."""
    needed = []
    if not config.teacher.checkpoint and teacher_place(config, workdir) == _usual_teacher_place(config, workdir):
        needed = [teacher_config(config)]
    if config.sampler.kind == "rho":
        needed += [holdout_config(config, part) for part in ("even", "odd")]
    return [(run, shared_folder(workdir) / run_name(run)) for run in needed]


def read_config(workdir: Path) -> ml_collections.ConfigDict:
    """The configuration that a run left in its workdir.

    Raises:
        UserError: where there is none, or it is damaged.
    """
    path = workdir / files.CONFIG
    if not path.exists():
        raise UserError(f"there is no run in {workdir}: it has no {files.CONFIG}")
    content = files.read_json(path, "choose another workdir")
    there = dict(files.flatten(content))
    if missing := [key for key in _REQUIRED if key not in there]:
        raise UserError(f"{path} is damaged, or another version's (it has no {missing[0]}): choose another workdir")
    config = ml_collections.ConfigDict(content)
    check_network(config.student.name, path)
    choice.check_name(config, path)
    return config


def check_network(name: str, path: Path) -> None:
    """Raises UserError for a network that a run's config.json, at that path, names and this program does not know."""
    if name not in models.MODELS:
        raise UserError(
            f"{path}: {unknown('model', name, models.MODELS)}; one of your own is known where the configuration file "
            "that defines it is given by --config=FILE, without --workdir"
        )


def write_config(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Makes the workdir this run's own, and that of its data where those may change."""
    if data := choice.fingerprint(config):
        files.write_json(workdir / files.DATA, data)
    files.write_json(workdir / files.CONFIG, config.to_dict())


def read_data(workdir: Path) -> dict[str, Any]:
    """What `choice.fingerprint` told of the run's data when it began; {} where there is nothing to tell.

    Raises:
        UserError: where it is damaged.
    """
    return _read_record(workdir / files.DATA)


def read_teacher(workdir: Path) -> dict[str, Any]:
    """The "name", "place", "fingerprint" and "accuracy" of the teacher that the run began with; {} without one.

    Raises:
        UserError: where the record is damaged.
    """
    return _read_record(workdir / files.TEACHER)


def _read_record(path: Path) -> dict[str, Any]:
    return files.read_json(path, "choose another workdir") if path.exists() else {}


def described_data(workdir: Path) -> tuple[DatasetInfo, tuple[str, ...]]:
    """The sizes and the classes of the data that the run began with, whether they are still in their place or not.

    Raises:
        UserError: where there is no run, or its record is damaged.
    """
    config, data = read_config(workdir), read_data(workdir)
    if not data or (config.dataset in datasets.NAMES and not config.data.folder):
        info = choice.describe(config)
        return info, choice.class_names(config, info)
    try:
        class_names = tuple(data["class_names"])
        return DatasetInfo(
            data["images"], data["test_images"], tuple(data["image_shape"]), len(class_names)
        ), class_names
    except (KeyError, TypeError) as error:
        raise UserError(f"{workdir / files.DATA} is damaged ({error}): choose another workdir") from None


def is_finished(workdir: Path) -> bool:
    """Whether the run in that workdir came to its end."""
    return (workdir / files.SUMMARY).exists()


def read_summary(workdir: Path) -> dict[str, Any]:
    """Returns the results that a finished run left in its workdir.

    Raises:
        UserError: where they cannot be read, or are damaged.
    """
    path = workdir / files.SUMMARY
    summary = files.read_json(path, _WRITE_ANEW)
    if missing := {"student", "teacher", "steps", "wall_seconds"} - summary.keys():
        raise UserError(f"{path} is damaged (it has no {min(missing)}): {_WRITE_ANEW}")
    return summary


def differences(one: ml_collections.ConfigDict, other: ml_collections.ConfigDict) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configurations differ, with both values; None where a key is missing."""
    flat, other_flat = _flat(one), _flat(other)
    pairs = {key: (flat.get(key), other_flat.get(key)) for key in sorted(flat.keys() | other_flat.keys())}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(config: ml_collections.ConfigDict) -> dict[str, Any]:
    # A tuple comes back from JSON as a list.
    leaves = files.flatten(config.to_dict())
    return {key: list(value) if isinstance(value, tuple) else value for key, value in leaves}
