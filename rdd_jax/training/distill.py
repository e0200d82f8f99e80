"""Distillation as one call: the same run as the program's, without flags."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rdd_jax import methods as all_methods
from rdd_jax.core import io, user_code
from rdd_jax.core.errors import UserError
from rdd_jax.data import own_data
from rdd_jax.models import Network
from rdd_jax.runs import presets, trained_models
from rdd_jax.runs.config import RunConfig
from rdd_jax.training.run import train

Factory = Callable[..., Any]


class Result(NamedTuple):
    """A finished run.

    summary: the content of summary.json.
    student: the trained network.
    variables: its variables, replicated over the devices.
    workdir: the folder of the run.
    """

    summary: dict[str, Any]
    student: Network
    variables: dict[str, Any]
    workdir: Path


def distill(
    *,
    student: str | Factory | Mapping[str, Any],
    teacher: str | Factory | Mapping[str, Any],
    data: str | Path | Mapping[str, Any],
    methods: Mapping[str, float | Mapping[str, Any]] = all_methods.RDD_OBJECTIVE,
    workdir: str | Path,
    preset: str = "",
    **config: Any,
) -> Result:
    """Distils a student from a teacher, or resumes the run in `workdir`; a finished run is only loaded.

    Args:
        student: the name of a network, FILE.py:FACTORY, or the factory itself: a function at the top of a file that
            returns a linen module, an nnx module or a Network (see `models.create_network`). Or the keys of the
            section `student`, as in {"name": "resnet8x4", "kwargs": {...}}.
        teacher: the same; without a "checkpoint" it is trained first. Or the keys of the section `teacher`, as in
            {"name": "resnet32x4", "checkpoint": "teacher.pth"}, or {"members": "resnet56@one,vgg13@two.pth"} for
            several; {"name": ""} for no teacher.
        data: the name of a data set, an .npz file, FILE.py:FUNCTION (see `own_data.read`), a folder of images, the keys
            of the section `data`, as in {"folder": "PICTURES", "image_size": 64}, or a data set in memory: the arrays
            {"train_images": uint8[n,h,w,c], "train_labels": integers [n], "test_images", "test_labels"}, or
            {"train": items, "test": items} of objects with `__len__` and `__getitem__` (see `data.items`), and, if the
            classes have names, "class_names".
        methods: the weight of each method, or its options as in {"rdd": {"weight": 0.8, "pool_size": 64}}. The default
            is the RDD paper's objective.
        workdir: the folder of the run. A data set that is given in memory is written to it.
        preset: the recipe (`presets.PRESETS`); by default that of the data set, or "folder".
        **config: further keys of `RunConfig`, with sections as mappings: epochs=30, mining={"epochs": 5}.

    Returns:
        The trained student and the run's results.

    Raises:
        UserError: for a run that cannot work, as the program's messages say.
        TrainingInterrupted: on SIGTERM or SIGINT, when all is saved.
    """
    folder = Path(workdir)
    keys = _preset_keys(preset or (str(data) if str(data) in presets.PRESETS else "folder"), methods)
    sections = {"student": _section(student), "teacher": _section(teacher)}
    for section in (_data_keys(data, folder, keys), sections, config):
        _update(keys, section, "")
    try:
        run = RunConfig.from_dict(keys)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    summary = train(run, folder)
    trained = trained_models.load_student(folder, run.dtype, run.student)
    return Result(summary, trained.network, trained.variables, folder)


def _preset_keys(preset: str, methods: Mapping[str, float | Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the keys of a preset with the objective in its section `distill`."""
    keys = presets.get_config(preset).to_dict()
    for options in keys["distill"].values():
        options["weight"] = 0.0
    for name, given in methods.items():
        _update(keys["distill"], {name: given if isinstance(given, Mapping) else {"weight": float(given)}}, "distill.")
    return keys


def _section(network: str | Factory | Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys of a network's section."""
    if isinstance(network, Mapping):
        name = network.get("name", "")
        return {**network, "name": _reference(name) if callable(name) else name}
    return {"name": _reference(network) if callable(network) else network}


def _reference(factory: Factory) -> str:
    """Returns FILE.py:FACTORY, by which a run's config.json remembers a factory."""
    try:
        file = inspect.getsourcefile(factory)
    except TypeError:
        file = None
    name = getattr(factory, "__qualname__", "")
    if not file or not Path(file).is_file() or not name.isidentifier():
        raise UserError(
            f"the factory {name or factory} must be a function or class at the top of a file, by which the run can be "
            "resumed: give it as FILE.py:FACTORY"
        )
    return user_code.absolute(f"{file}:{name}")


def _data_keys(data: str | Path | Mapping[str, Any], workdir: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys that name the data; a data set in memory is written to the workdir, unless it is there."""
    if isinstance(data, Mapping) and "folder" in data:
        return {"data": {**data, "folder": str(Path(data["folder"]).absolute())}, "dataset": ""}
    if isinstance(data, Mapping):
        # The name of the data is part of that of their teacher, which stands beside the workdir.
        path = workdir / f"{workdir.resolve().name}.npz"
        arrays: dict[str, Any] = own_data.to_arrays("data", data)
        own_data.check("data", arrays)
        if not (path.exists() and own_data.holds(path, arrays)):
            with io.atomic_write(path) as file:
                np.savez(file, **arrays)
        return {"dataset": str(path.absolute()), "data": {"image_size": 0, "validation": 0.0}}
    if Path(data).is_dir():
        return {"data": {"folder": str(Path(data).absolute())}, "dataset": ""}
    if own_data.is_own(str(data)):
        return {"dataset": own_data.absolute(str(data)), "data": {"image_size": 0, "validation": 0.0}}
    return {"dataset": str(data), "data": {} if keys["dataset"] else {"image_size": 0, "validation": 0.0}}


def _update(keys: dict[str, Any], given: Mapping[str, Any], section: str) -> None:
    """Sets keys of nested sections.

    Raises:
        UserError: for an unknown key.
    """
    for name, value in given.items():
        if name not in keys:
            raise UserError(f'the configuration has no key "{section}{name}"; it has {", ".join(keys)}')
        if isinstance(keys[name], dict) and isinstance(value, Mapping) and name != "kwargs":
            _update(keys[name], value, f"{section}{name}.")
        else:
            keys[name] = value
