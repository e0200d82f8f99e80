"""Trained networks, from the workdirs of their runs or from files of weights, and what they are worth."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from rdd_jax import models
from rdd_jax.core import devices
from rdd_jax.core.errors import UserError
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.progress import image_progress
from rdd_jax.core.types import Array
from rdd_jax.data import augmentation, datasets, loading, pipeline
from rdd_jax.models import torch_import
from rdd_jax.runs import naming, records
from rdd_jax.runs.checkpointing import restore_student
from rdd_jax.runs.config import RunConfig
from rdd_jax.steps.evaluation import make_evaluate


class TrainedModel(NamedTuple):
    """A trained network and its variables, replicated."""

    model: nn.Module
    variables: dict[str, Any]


def make_input_normalizer(dataset: datasets.Dataset) -> Callable[[Array], Array]:
    """uint8[b,h,w,c] -> f32[b,h,w,c], by the data set's mean and deviation."""
    return partial(augmentation.normalize, mean=dataset.mean, std=dataset.std)


def evaluate_on_test(network: TrainedModel, dataset: datasets.Dataset) -> dict[str, float]:
    """Evaluates a network on the test images: {"loss": nats, "accuracy": percent, ...}, see `evaluate.Evaluate`."""
    on_test_images = make_evaluate(network.model, make_input_normalizer(dataset))
    test = pipeline.place(dataset.test_images), devices.replicate(dataset.test_labels)
    with image_progress("evaluating") as on_batch:
        return on_test_images(network.variables, *test, on_batch)


def evaluate(workdir: Path, config: RunConfig | None = None) -> dict[str, float]:
    """Evaluates the latest student in `workdir` on the test images of its data set, as `evaluate_on_test` does.

    Raises:
        UserError: where there is no run, or its checkpoint or the data cannot be read.
    """
    config = config or records.read_config(workdir)
    return evaluate_on_test(load_student(workdir, config.dtype), loading.load(config.data))


def load_teacher(config: RunConfig, workdir: Path) -> TrainedModel | None:
    """The teacher of the run in `workdir`, from a file of weights or from the workdir of its own run; None without one.

    Raises:
        UserError: where it is missing or damaged, or another than the run began with.
    """
    place = naming.teacher_place(config, workdir)
    if place is None:
        return None
    network = _read_weights(place, config) if place.is_file() else load_student(place, config.dtype)
    began_with, found = records.read_teacher(workdir).get("fingerprint"), fingerprint(network.variables)
    if began_with not in (None, found):
        raise UserError(
            f"the teacher in {place} is not the one that {workdir} began with (its fingerprint is {found[:8]}, and was "
            f"{str(began_with)[:8]}): put that one back or name its place by --config.teacher.checkpoint, or choose "
            "another --workdir"
        )
    return network


def _read_weights(file: Path, config: RunConfig) -> TrainedModel:
    info, name = loading.describe(config.data), config.teacher.name
    variables = torch_import.load(file, name, info.num_classes, info.image_shape)
    return TrainedModel(create_model(name, info, config.dtype), devices.replicate(variables))


def load_student(workdir: Path, dtype: str) -> TrainedModel:
    """The trained student of a run, from its workdir alone: its data may be elsewhere by now.

    Raises:
        UserError: where the run or its checkpoint is missing or damaged.
    """
    config = records.read_config(workdir)
    info, _ = records.described_data(workdir)
    model = create_model(config.student.name, info, dtype)
    return TrainedModel(model, restore_student(workdir, models.variable_shapes(model, info.image_shape)))


def create_model(name: str, info: datasets.DatasetInfo, dtype: str) -> nn.Module:
    """The network of that name for the data's classes, synchronised over the devices."""
    return models.create(name, info.num_classes, axis_name=devices.AXIS, dtype=models.DTYPES[dtype])
