"""Checks that a workdir holds the run that a configuration describes, with the same data."""

from pathlib import Path
from typing import Any

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.runs import records, trained_models
from rdd_jax.runs.config import RunConfig, differences

_ALWAYS_FREE = ("data.workers",)  # A run may be resumed with another value: the results do not depend on it.
_TEACHER_PATHS = ("teacher.checkpoint", "teacher.members")


def check_same_run(config: RunConfig, workdir: Path, hint: str) -> None:
    """Raises UserError if the run in a workdir has another configuration, or began with another teacher.

    Args:
        config: of the run that would be resumed.
        workdir: with a config.json.
        hint: how to fix it, for the message.
    """
    found, free = differences(records.read_config(workdir), config), free_keys(config, workdir)
    for role, name in records.networks(config).items():
        if f"{role}.name" not in found:
            records.warn_of_changed_network(name, workdir, role)
    refuse_differences({key: values for key, values in found.items() if key not in free}, workdir, hint)
    if found.keys() & set(_TEACHER_PATHS):
        trained_models.load_teacher(config, workdir)  # Raises UserError for another teacher.


def check_same_data(config: RunConfig, workdir: Path, hint: str = "choose another --workdir") -> None:
    """Raises UserError if the images of a configuration are not those that the run in a workdir began with.

    A data set of a fixed version has a fingerprint only where it is streamed; then there is nothing to compare.
    """
    before, now = records.read_data(workdir), loading.fingerprint(config.data)
    for key in before | now if before and now else ():
        if now.get(key) != before.get(key):
            raise UserError(
                f"the data have changed since {workdir} began ({key}: {before.get(key)} then, {now.get(key)} now): put "
                f"them back, or {hint}"
            )


def has_same_images(config: RunConfig, workdir: Path) -> bool:
    """Returns True if the run in a workdir began with the images of a configuration, wherever they were then."""
    return loading.fingerprint(config.data) == records.read_data(workdir) != {}


def has_same_files(config: RunConfig, workdir: Path) -> bool:
    """Returns True if the run in a workdir began with the same files or arrays, whatever size and split they had."""
    return records.read_data(workdir).get("files", "") == loading.fingerprint(config.data).get("files")


def free_keys(config: RunConfig, workdir: Path) -> tuple[str, ...]:
    """Returns the keys in which a configuration may differ from that of the run in a workdir.

    The paths of images and teacher are free if the images and the teacher themselves can be compared, and so is the
    folder of a file with a network.
    """
    same_images = has_same_images(config, workdir)
    comparable = {
        "data.folder": same_images,
        "dataset": same_images,  # The path of a file.
        **{key: bool(records.read_teacher(workdir)) for key in _TEACHER_PATHS},
        "student.name": records.is_recorded_network(config.student.name, workdir),
        "teacher.name": records.is_recorded_network(config.teacher.name, workdir, "teacher"),
    }
    return (*_ALWAYS_FREE, *(key for key, is_free in comparable.items() if is_free))


def refuse_differences(found: dict[str, tuple[Any, Any]], workdir: Path, hint: str) -> None:
    """Raises UserError that names the first of the differing keys, if there are any."""
    for key, (there, here) in found.items():
        more = f", and {len(found) - 1} more keys differ" if len(found) > 1 else ""
        raise UserError(f"{workdir} holds another run ({key} is {there} there, {here} here{more}): {hint}")
