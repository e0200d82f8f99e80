"""Checks of the teachers that `teacher.checkpoint` or `teacher.members` name."""

from pathlib import Path

from rdd_jax import models
from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.models import weights
from rdd_jax.models.torch_state_dict import Mismatch
from rdd_jax.runs import checkpointing, layout, records, trained_models
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.naming import PlacedNetwork
from rdd_jax.runs.network_options import StudentOptions
from rdd_jax.training.same_run import has_same_files


def check_given_teacher(config: RunConfig, teacher: PlacedNetwork) -> None:
    """Raises UserError unless the path of a teacher is the workdir of a finished run, or a file of weights, of it."""
    wanted, path = teacher
    if not path.exists():
        raise UserError(
            f"there is no {path}: a teacher's checkpoint is the workdir of a run, or a file of weights by PyTorch's "
            "names (.pth, .safetensors)"
        )
    if path.is_file():
        _check_weights(config, wanted, path)
        return
    if (path / layout.EXPORTED_WEIGHTS).is_file():
        raise UserError(f"{path} is an export: {_mend(config, 'checkpoint', path / layout.EXPORTED_WEIGHTS)}")
    found = records.read_config(path)
    same_name = loading.dataset_name(found.data) == loading.dataset_name(config.data)
    # A teacher of images without labels was trained on other images. All folders are normalised alike.
    other_folder = bool(found.data.folder) and not loading.is_labelled(config.data)
    if not (same_name or other_folder or has_same_files(config, path)):
        raise UserError(
            f"the teacher in {path} was trained on {loading.dataset_name(found.data)}, not on "
            f"{loading.dataset_name(config.data)}"
            + ("" if loading.is_labelled(config.data) else ": give one of a folder with the same classes, or a file")
        )
    if found.student.name != wanted.name and not records.is_recorded_network(wanted.name, path):
        mend = _mend(config, "name", found.student.name)
        raise UserError(f"{path} holds a {found.student.name}, not a {wanted.name}: {mend}")
    if found.student.kwargs != wanted.kwargs:
        theirs, ours = (dict(network.kwargs) for network in (found.student, wanted))
        raise UserError(
            f"{path} holds a network with the arguments {theirs}, not {ours}: set them by "
            "--config.teacher.kwargs.KEY=VALUE"
        )
    if found.data.validation != config.data.validation and not other_folder:
        raise UserError(
            f"the teacher in {path} was trained with data.validation={found.data.validation} and may have seen what "
            f"is held out here: set --config.data.validation={found.data.validation}, or give another teacher"
        )
    _check_fits(config, wanted, path)
    if not records.is_finished(path):
        raise UserError(f"the teacher in {path} is not trained to its end: finish its run, or give another")
    checkpointing.latest_step(path)


def _mend(config: RunConfig, key: str, value: object) -> str:
    """Says how to correct a key of a single teacher, or the members of several."""
    if config.teacher.members:
        return f"name {value} in --config.teacher.members"
    return f"set --config.teacher.{key}={value}"


def _check_fits(config: RunConfig, network: StudentOptions, path: Path) -> None:
    """Raises UserError unless the network of the run in `path` fits the classes and the image size of this run."""
    here, (there, class_names) = loading.describe(config.data), records.described_data(path)
    if loading.class_names(config.data, here) != class_names:
        raise UserError(
            f"the teacher in {path} was trained on other classes than {loading.dataset_name(config.data)} has: give "
            "another"
        )
    if here.image_shape != there.image_shape:
        networks = ((trained_models.create_network(network, info, config.dtype), info) for info in (here, there))
        one, other = (models.variable_shapes(network, info.image_shape) for network, info in networks)
        if one != other:
            raise UserError(
                f"the teacher in {path} was trained on images of {there.image_shape}, and for {here.image_shape} a "
                f"{network.name} has other parameters: give another"
            )


def _check_weights(config: RunConfig, network: StudentOptions, path: Path) -> None:
    info = loading.describe(config.data)
    try:
        weights.load(path, network.name, info.num_classes, info.image_shape, **network.kwargs)
    except Mismatch as error:
        key = "members" if config.teacher.members else "name"
        raise UserError(f"{error}; set --config.teacher.{key} and --config.dataset to what the file holds") from error
