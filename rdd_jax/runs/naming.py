"""The names and the places of runs, and the runs that a run depends on: its teacher and its holdout models."""

import os
from pathlib import Path

import ml_collections

from rdd_jax import methods
from rdd_jax.data import loading, samplers
from rdd_jax.runs import records
from rdd_jax.runs.teacher_keys import UNREAD_BY_TEACHERS

RUNS = Path("runs")  # Where runs live whose workdir is not given; nothing else is looked for there.
# The keys that make a trained teacher the one that a run asks for; the rest of its recipe is its own.
TEACHER_KEYS = {
    *("dataset", "data.folder", "data.image_size", "data.crop_share", "data.validation"),
    *("student.name", "seed", "epochs", "learning_rate"),
}
def method_name(config: ml_collections.ConfigDict) -> str:
    """The methods of a run, joined by "+", and its sampler where that is not the plain one: "kd-curriculum"."""
    name, sampler = methods.label(config.distill), config.sampler.kind
    return name if sampler == "full" else f"{name}-{sampler}"


def run_name(config: ml_collections.ConfigDict) -> str:
    """<method>-<preset>[-<pair>]-seed<seed>, or teacher-<preset>-<network>-seed<seed>."""
    dataset = loading.name(config)
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
    return methods.label(config.distill) != methods.LABELS_ALONE or config.sampler.kind in samplers.RANKED


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
    usual, recorded = _usual_teacher_place(config, workdir), records.read_teacher(workdir).get("place")
    if not records.is_finished(usual) and recorded and (records.is_finished(Path(recorded)) or Path(recorded).is_file()):
        return Path(recorded)
    return usual if needs_teacher(config) or _is_trained(teacher_config(config), usual) else None


def _is_trained(wanted: ml_collections.ConfigDict, workdir: Path) -> bool:
    """Tells whether the teacher in a workdir is trained to its end, and is the one wanted."""
    return records.is_finished(workdir) and not TEACHER_KEYS & records.differences(records.read_config(workdir), wanted).keys()


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
