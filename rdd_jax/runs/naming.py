"""The names and the places of runs, and the runs that a run depends on: its teacher and its holdout models."""

import dataclasses
import os
from pathlib import Path

from rdd_jax import methods
from rdd_jax.data import loading, samplers
from rdd_jax.runs import records
from rdd_jax.runs.config import RunConfig, StudentOptions, differences

RUNS = Path("runs")  # Where runs live whose workdir is not given; nothing else is looked for there.
# The keys that make a trained teacher the one that a run asks for; the rest of its recipe is its own.
TEACHER_KEYS = {
    *("dataset", "data.folder", "data.image_size", "data.crop_share", "data.validation"),
    *("student.name", "seed", "epochs", "learning_rate"),
}


def method_name(config: RunConfig) -> str:
    """The methods of a run, joined by "+", and its sampler where that is not the plain one: "kd-curriculum"."""
    name, sampler = methods.label(config.distill), config.sampler.kind
    return name if sampler == "full" else f"{name}-{sampler}"


def run_name(config: RunConfig) -> str:
    """<method>-<preset>[-<pair>]-seed<seed>, or teacher-<preset>-<network>-seed<seed>."""
    dataset = loading.dataset_name(config.data)
    # The preset `folder` is for whatever folder is given, whose name says more.
    data = dataset if config.preset in (dataset, "folder") else f"{config.preset}-{dataset}"
    data = f"{data}-{config.pair}" if config.pair else data
    if not config.trains_teacher:
        return f"{method_name(config)}-{data}-seed{config.seed}"
    part = "" if config.sampler.kind == "full" else f"-{config.sampler.kind}"
    return f"teacher-{data}-{config.student.name}{part}-seed{config.seed}"


def teacher_config(config: RunConfig) -> RunConfig:
    """Returns the run that trains a run's teacher: the same data and recipe, the teacher's own keys, labels alone.

    The keys that training a teacher does not read have their defaults, so that they do not tell two teachers apart.
    """
    default = RunConfig()
    return dataclasses.replace(
        config,
        trains_teacher=True,
        student=StudentOptions(name=config.teacher.name),
        seed=config.teacher.seed,
        epochs=config.teacher.epochs,
        learning_rate=config.teacher.learning_rate,
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


def shared_folder(workdir: Path) -> Path:
    """The folder that the workdir is in; it also has what runs share, such as teachers and their cached outputs."""
    named = workdir if workdir.name not in ("", "..") else Path(os.path.abspath(workdir))
    return named.parent


def needs_teacher(config: RunConfig) -> bool:
    """Tells whether methods or sampler use a teacher: cross-entropy alone, of the usual batches, does not."""
    return methods.label(config.distill) != methods.CROSS_ENTROPY or config.sampler.kind in samplers.RANKED


def teacher_place(config: RunConfig, workdir: Path) -> Path | None:
    """The workdir or the file of weights of a run's teacher; None for a run that has none.

    This is `teacher.checkpoint` where it is set, and else the workdir of the run that trains the teacher, in the shared
    folder. A run whose teacher is no longer there has it from the place in its teacher.json. A run that needs no
    teacher has one only where that very teacher is trained already: its accuracy is reported.
    """
    if not config.teacher.name:
        return None
    if config.teacher.checkpoint:
        return Path(config.teacher.checkpoint)
    usual, recorded = _usual_teacher_place(config, workdir), records.read_teacher(workdir).get("place")
    moved = recorded and (records.is_finished(Path(recorded)) or Path(recorded).is_file())
    if not records.is_finished(usual) and moved:
        return Path(recorded)
    return usual if needs_teacher(config) or _is_trained(teacher_config(config), usual) else None


def _is_trained(wanted: RunConfig, workdir: Path) -> bool:
    """Tells whether the teacher in a workdir is trained to its end, and is the one wanted."""
    return records.is_finished(workdir) and not TEACHER_KEYS & differences(records.read_config(workdir), wanted).keys()


def _usual_teacher_place(config: RunConfig, workdir: Path) -> Path:
    return shared_folder(workdir) / run_name(teacher_config(config))


def holdout_config(config: RunConfig, part: str) -> RunConfig:
    """Returns the run that trains a holdout model: the run's own network on the "even" or "odd" images (RHO-LOSS)."""
    sampler = dataclasses.replace(RunConfig().sampler, kind=part)
    return dataclasses.replace(teacher_config(config), student=config.student, sampler=sampler)


def prerequisites(config: RunConfig, workdir: Path) -> list[tuple[RunConfig, Path]]:
    """The runs that have to be finished before the run in `workdir`, each with its own workdir in the shared folder."""
    needed = []
    if not config.teacher.checkpoint and teacher_place(config, workdir) == _usual_teacher_place(config, workdir):
        needed = [teacher_config(config)]
    if config.sampler.kind == "rho":
        needed += [holdout_config(config, part) for part in ("even", "odd")]
    return [(run, shared_folder(workdir) / run_name(run)) for run in needed]
