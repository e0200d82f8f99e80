"""The names and folders of runs, and the runs that a run requires: its teacher and its holdout models."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rdd_jax import methods
from rdd_jax.core import user_code
from rdd_jax.data import loading, samplers
from rdd_jax.data.options import AugmentOptions
from rdd_jax.runs import layout, records
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.runs.network_options import StudentOptions

_LONGEST_NAME = 60  # Of a network; what is cut off is told apart by a checksum.
RUNS = Path("runs")  # The folder of runs whose workdir is not given.
_TEACHER_KEYS = {
    *("dataset", "data.folder", "data.image_size", "data.crop_share", "data.validation"),
    *("student.name", "seed", "epochs", "learning_rate"),
}


class PlacedNetwork(NamedTuple):
    """A trained network that is not loaded yet.

    network: its name and arguments.
    path: the workdir of its run, or a file of weights.
    """

    network: StudentOptions
    path: Path


def method_name(config: RunConfig) -> str:
    """Names the methods of a run, joined by "+", with what is unusual about its teacher and its sampler.

    A mean teacher and any sampler but "full" are named, as in "kd-ema_teacher" and "kd-curriculum".
    """
    parts = [methods.label(config.distill)]
    parts += ["ema_teacher"] if config.teacher.kind == "ema" else []
    parts += [config.sampler.kind] if config.sampler.kind != "full" else []
    return "-".join(parts)


def run_name(config: RunConfig) -> str:
    """Names a run: <method>-<preset>[-<pair>]-seed<seed>, or teacher-<preset>-<network>-seed<seed>."""
    dataset = loading.dataset_name(config.data)
    # The name of a folder says more than that of the preset `folder`.
    data = dataset if config.preset in (dataset, "folder") else f"{config.preset}-{dataset}"
    data = f"{data}-{config.pair}" if config.pair else data
    if not config.trains_teacher:
        return f"{method_name(config)}-{data}-seed{config.seed}"
    part = "" if config.sampler.kind == "full" else f"-{config.sampler.kind}"
    return f"teacher-{data}-{network_name(config.student)}{part}-seed{config.seed}"


def network_name(network: StudentOptions) -> str:
    """Names a network and its arguments, in characters that any file system takes, as in "resnet8-widths-8_8_16_32"."""
    arguments = [f"-{key}-{value}" for key, value in sorted(network.kwargs.items())]
    plain = re.sub(r"[^\w.-]+", "_", user_code.short_name(network.name) + "".join(arguments), flags=re.ASCII)
    if len(plain) <= _LONGEST_NAME:
        return plain
    return f"{plain[:_LONGEST_NAME]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def teacher_config(config: RunConfig) -> RunConfig:
    """Returns the run that trains a run's teacher: the same data and recipe, the teacher's own keys, labels alone.

    The keys that training a teacher does not read have their defaults, so that they do not tell two teachers apart. Its
    images are only cropped and flipped, so that runs with and without further augmentation share it.
    """
    default, augment = RunConfig(), config.augment
    return dataclasses.replace(
        config,
        trains_teacher=True,
        student=teacher_network(config),
        seed=config.teacher.seed,
        epochs=config.teacher.epochs,
        learning_rate=config.teacher.learning_rate,
        augment=AugmentOptions(pad=augment.pad, flip=augment.flip, resized_crop=augment.resized_crop),
        teacher=default.teacher,
        distill=default.distill,
        mining=default.mining,
        sampler=default.sampler,
        pair=default.pair,
        eval_every_epochs=default.eval_every_epochs,
        checkpoint_every_epochs=default.checkpoint_every_epochs,
        keep_all_checkpoints=default.keep_all_checkpoints,
        steps_per_call=default.steps_per_call,
    )


def teacher_network(config: RunConfig) -> StudentOptions:
    """Returns the teacher's network as the student of its own run."""
    return StudentOptions(name=config.teacher.name, kwargs=config.teacher.kwargs)


def teacher_networks(config: RunConfig) -> tuple[StudentOptions, ...]:
    """Returns the networks of a run's teachers, as students of their own runs: one, several, or none.

    The arguments of one of several are those of the run in its workdir; a network in a file of weights has none.
    """
    if config.teacher.members:
        members = config.teacher.parsed_members()
        return tuple(StudentOptions(name=name, kwargs=_recorded_arguments(Path(path))) for name, path in members)
    return (teacher_network(config),) if config.teacher.name else ()


def teachers(config: RunConfig, workdir: Path) -> tuple[PlacedNetwork, ...]:
    """Returns the teachers of a run with their workdirs, or files of weights; () for a run without one."""
    single = teacher_path(config, workdir)
    paths = [Path(member.checkpoint) for member in config.teacher.parsed_members()] or ([single] if single else [])
    return tuple(PlacedNetwork(*pair) for pair in zip(teacher_networks(config), paths, strict=False))


def _recorded_arguments(workdir: Path) -> Mapping[str, Any]:
    return records.read_config(workdir).student.kwargs if (workdir / layout.CONFIG).exists() else {}


def is_teacher_key(key: str) -> bool:
    """Tells the keys that a trained teacher must have to be the one that a run requires; others may differ."""
    return key in _TEACHER_KEYS or key.startswith("student.kwargs.")


def shared_folder(workdir: Path) -> Path:
    """Returns the folder around a workdir, with what runs share: teachers, cached outputs, compiled programs."""
    named = workdir if workdir.name not in ("", "..") else Path(os.path.abspath(workdir))
    return named.parent


def needs_teacher(config: RunConfig) -> bool:
    """Returns True where a method or the sampler uses a teacher."""
    return methods.reads_teacher(config.distill) or config.sampler.kind in samplers.RANKED_KINDS


def teacher_path(config: RunConfig, workdir: Path) -> Path | None:
    """Returns the workdir, or the file of weights, of a run's single teacher; None for a run without one.

    It is `teacher.checkpoint` where that is set, and else the workdir of the run that trains the teacher, in the shared
    folder. If the teacher is no longer there, it is the path in the run's teacher.json. A run that needs no teacher has
    one only if that teacher is trained already: then its accuracy is reported.
    """
    if config.teacher.members or not config.teacher.name:
        return None
    if config.teacher.checkpoint:
        return Path(config.teacher.checkpoint)
    default, recorded = _default_teacher_path(config, workdir), records.read_teacher(workdir).get("place")
    moved = recorded and (records.is_finished(Path(recorded)) or Path(recorded).is_file())
    if not records.is_finished(default) and moved:
        return Path(recorded)
    return default if needs_teacher(config) or _is_trained(teacher_config(config), default) else None


def _is_trained(wanted: RunConfig, workdir: Path) -> bool:
    """Returns True where the run in a workdir is finished, and is that teacher by `is_teacher_key`."""
    if not records.is_finished(workdir):
        return False
    return not any(map(is_teacher_key, differences(records.read_config(workdir), wanted)))


def _default_teacher_path(config: RunConfig, workdir: Path) -> Path:
    return shared_folder(workdir) / run_name(teacher_config(config))


def holdout_model_config(config: RunConfig, part: str) -> RunConfig:
    """Returns the run that trains a holdout model: the run's own network on the "even" or "odd" images (RHO-LOSS)."""
    sampler = dataclasses.replace(RunConfig().sampler, kind=part)
    return dataclasses.replace(teacher_config(config), student=config.student, sampler=sampler)


def required_runs(config: RunConfig, workdir: Path) -> list[tuple[RunConfig, Path]]:
    """Returns the runs that are trained before the run in `workdir`, each with its workdir in the shared folder."""
    needed = []
    trains_own = not (config.teacher.checkpoint or config.teacher.members)
    if trains_own and teacher_path(config, workdir) == _default_teacher_path(config, workdir):
        needed = [teacher_config(config)]
    if config.sampler.kind == "rho":
        needed += [holdout_model_config(config, part) for part in ("even", "odd")]
    return [(run, shared_folder(workdir) / run_name(run)) for run in needed]
