"""The records in a workdir: configuration, data, teacher, summary."""

from pathlib import Path
from typing import Any

from rdd_jax import models
from rdd_jax.core import io, processes, user_code
from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import datasets, loading
from rdd_jax.data.datasets import DatasetInfo
from rdd_jax.runs import layout
from rdd_jax.runs.config import RunConfig

_REWRITE_HINT = "delete it, and the command of the run writes it again"


def read_config(workdir: Path) -> RunConfig:
    """Reads a run's configuration.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    path = workdir / layout.CONFIG
    if not path.exists():
        raise UserError(f"there is no run in {workdir}: it has no {layout.CONFIG}; give the --workdir of a run")
    content = io.read_json(path, "choose another workdir")
    try:
        config = RunConfig.from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged, or another version's ({error.args[0]}): choose another workdir") from error
    check_network(config.student.name, path)
    loading.check_name(config.data, path)
    return config


def check_network(name: str, path: Path) -> None:
    """Raises UserError for an unknown network in the config.json at `path`; files of factories are looked for later."""
    if name not in models.MODELS and not user_code.is_reference(name):
        raise UserError(
            f"{path}: {unknown_name_message('model', name, models.MODELS)}; one of your own is named as FILE.py:FACTORY"
        )


def write_config(config: RunConfig, workdir: Path) -> None:
    """Writes a run's configuration, and the fingerprints of its data and of the files of its networks."""
    if data := loading.fingerprint(config.data):
        io.write_json(workdir / layout.DATA, data)
    recorded = {
        role: {"name": name, "sha256": user_code.fingerprint(name)}
        for role, name in networks(config).items()
        if user_code.is_reference(name)
    }
    if recorded:
        io.write_json(workdir / layout.NETWORKS, recorded)
    io.write_json(workdir / layout.CONFIG, config.to_dict())


def networks(config: RunConfig) -> dict[str, str]:
    """Returns the names of a run's networks by their roles: "student", and "teacher", or "teacher 1" and so on."""
    members = config.teacher.parsed_members()
    several = {f"teacher {number}": member.name for number, member in enumerate(members, start=1)}
    return {"student": config.student.name, **(several or {"teacher": config.teacher.name})}


def is_recorded_network(name: str, workdir: Path, role: str = "student") -> bool:
    """Returns True if a factory and its file are those with which the run in a workdir began, wherever they were then.

    Args:
        name: as FILE.py:FACTORY or package.module:FACTORY; for other names the result is False.
        workdir: of the run.
        role: a key of `networks`.

    Raises:
        UserError: if there is no such file, or the record is damaged.
    """
    recorded = _read_record(workdir / layout.NETWORKS).get(role)
    if not recorded or not user_code.is_reference(name):
        return False
    same_function = name.rpartition(":")[2] == str(recorded.get("name")).rpartition(":")[2]
    return same_function and user_code.fingerprint(name) == recorded.get("sha256")


def warn_of_changed_network(name: str, workdir: Path, role: str = "student") -> bool:
    """Warns, and returns True, if the file of a factory has changed since the run in a workdir began.

    Arguments and errors as of `is_recorded_network`.
    """
    recorded = (workdir / layout.NETWORKS).exists() and user_code.is_reference(name)
    changed = recorded and not is_recorded_network(name, workdir, role)
    if changed:
        processes.warn(
            f"{name.rpartition(':')[0]} has changed since {workdir} began: the {role} may be another network than that "
            "of the weights, as far as their shapes do not show it"
        )
    return changed


def read_data(workdir: Path) -> dict[str, Any]:
    """Reads the `loading.fingerprint` of a run's data when it began; {} where there is none.

    Raises:
        UserError: if the record is damaged.
    """
    return _read_record(workdir / layout.DATA)


def read_teacher(workdir: Path) -> dict[str, Any]:
    """Reads the "name", "place", "fingerprint" and accuracies of a run's teacher; {} without one.

    Raises:
        UserError: if the record is damaged.
    """
    return _read_record(workdir / layout.TEACHER)


def _read_record(path: Path) -> dict[str, Any]:
    return io.read_json(path, "choose another workdir") if path.exists() else {}


def described_data(workdir: Path) -> tuple[DatasetInfo, tuple[str, ...]]:
    """Reads the sizes and the class names of a run's data, even if the data have been moved since.

    Raises:
        UserError: if there is no run, or its record is damaged.
    """
    config, data = read_config(workdir), read_data(workdir)
    if not data or (config.dataset in datasets.NAMES and not config.data.folder):
        info = loading.describe(config.data)
        return info, loading.class_names(config.data, info)
    try:
        class_names = tuple(data["class_names"])
        return DatasetInfo(
            data["images"], data["test_images"], tuple(data["image_shape"]), len(class_names)
        ), class_names
    except (KeyError, TypeError) as error:
        raise UserError(f"{workdir / layout.DATA} is damaged ({error}): choose another workdir") from None


def is_finished(workdir: Path) -> bool:
    """Returns True where the run in a workdir has been trained to its end."""
    return (workdir / layout.SUMMARY).exists()


def read_summary(workdir: Path) -> dict[str, Any]:
    """Reads the results of a finished run.

    Raises:
        UserError: if they cannot be read, or are damaged.
    """
    path = workdir / layout.SUMMARY
    summary = io.read_json(path, _REWRITE_HINT)
    if missing := {"student", "teacher", "steps", "wall_seconds"} - summary.keys():
        raise UserError(f"{path} is damaged (it has no {min(missing)}): {_REWRITE_HINT}")
    return summary
