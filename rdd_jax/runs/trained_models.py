"""Trained networks: loading from workdirs and from files of weights, and evaluation on the test images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rdd_jax import models
from rdd_jax.core import devices, user_code
from rdd_jax.core.errors import UserError
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.progress import image_progress
from rdd_jax.core.types import Array
from rdd_jax.data import augmentation, datasets, loading, pipeline
from rdd_jax.models import Network, weights
from rdd_jax.runs import naming, records
from rdd_jax.runs.checkpointing import restore_student
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.network_options import StudentOptions
from rdd_jax.steps.ensemble_teacher import ensemble_network, join_variables
from rdd_jax.steps.evaluation import make_evaluate


class TrainedModel(NamedTuple):
    """A trained network.

    network: the network.
    variables: its variables, replicated over the devices.
    """

    network: Network
    variables: dict[str, Any]


def make_input_normalizer(dataset: datasets.Dataset) -> Callable[[Array], Array]:
    """Makes the function that normalises images uint8[b,h,w,c] to f32[b,h,w,c] by the data set's mean and deviation."""
    return partial(augmentation.normalize, mean=dataset.mean, std=dataset.std)


def evaluate_on_test(trained: TrainedModel, dataset: datasets.Dataset) -> dict[str, float]:
    """Evaluates a network on the test images of a data set.

    Returns:
        The metrics of `evaluation.Evaluation`.
    """
    evaluate_images = make_evaluate(trained.network, make_input_normalizer(dataset))
    test = pipeline.put(dataset.test_images, dataset.test_labels)
    with image_progress("evaluating") as on_batch:
        return evaluate_images(trained.variables, test, on_batch).metrics


def evaluate(workdir: str | Path, config: RunConfig | None = None) -> dict[str, float]:
    """Evaluates the latest student in a workdir on the test images of its data set.

    Args:
        workdir: the folder of the run.
        config: of the run; by default that in its workdir.

    Returns:
        {"accuracy": percent, "nll": nats, "ece": in [0, 1], "aurc": in [0, 1]} and, for more than 5 classes,
        "top5_accuracy" in percent.

    Raises:
        UserError: where there is no run, or its checkpoint or the data cannot be read.
    """
    workdir = Path(workdir)
    config = config or records.read_config(workdir)
    return evaluate_on_test(load_student(workdir, config.dtype, config.student), loading.load(config.data))


def load(workdir: str | Path) -> TrainedModel:
    """Loads the latest student of a run by its own configuration.

    The network takes normalised images. `runs.export` writes a student with its normalisation.

    Args:
        workdir: the folder of the run.

    Returns:
        The network and its variables.

    Raises:
        UserError: where there is no run, or its checkpoint cannot be read.
    """
    return load_student(Path(workdir), records.read_config(Path(workdir)).dtype)


def load_student(workdir: Path, dtype: str, network: StudentOptions | None = None) -> TrainedModel:
    """Loads the latest student of a run from its workdir; its data need not be there.

    Args:
        workdir: of the run.
        dtype: of the network's computations, a key of `models.DTYPES`.
        network: the student; by default that in the run's config.json. Another place of its file may be given.

    Raises:
        UserError: where the run, its checkpoint or the file of its network is missing or damaged.
    """
    chosen = network or records.read_config(workdir).student
    info, _ = records.described_data(workdir)
    created = create_network(chosen, info, dtype)
    shapes = models.variable_shapes(created, info.image_shape)
    changed = records.warn_of_changed_network(chosen.name, workdir)
    try:
        return TrainedModel(created, restore_student(workdir, shapes))
    except UserError as error:
        if not changed:
            raise
        raise UserError(
            f"{user_code.short_name(chosen.name)} does not fit the weights in {workdir}, since its file has changed: "
            "put the file back as it was"
        ) from error


def load_teacher(config: RunConfig, workdir: Path) -> TrainedModel | None:
    """Loads the teacher of a run, or several as one, as `load_teachers` does; None for a run without one."""
    return combine_teachers(config, load_teachers(config, workdir))


def load_teachers(config: RunConfig, workdir: Path) -> tuple[TrainedModel, ...]:
    """Loads the teachers of a run, each from a file of weights or from the workdir of its own run.

    Args:
        config: of the run.
        workdir: of the run.

    Returns:
        One, several, or none.

    Raises:
        UserError: where one is missing or damaged, or they are not the ones that the run began with.
    """
    places = naming.teachers(config, workdir)
    loaded = tuple(_load_network(place, config) for place in places)
    teacher = combine_teachers(config, loaded)
    if teacher is None:
        return ()
    recorded, found = records.read_teacher(workdir).get("fingerprint"), fingerprint(teacher.variables)
    if recorded not in (None, found):
        key = "members" if config.teacher.members else "checkpoint"
        raise UserError(
            f"the teacher in {' and '.join(str(place.path) for place in places)} is not the one that {workdir} began "
            f"with (its fingerprint is {found[:8]}, and was {str(recorded)[:8]}): put that one back or name its place "
            f"by --config.teacher.{key}, or choose another --workdir"
        )
    return loaded


def combine_teachers(config: RunConfig, teachers: Sequence[TrainedModel]) -> TrainedModel | None:
    """Combines several teachers to one; a single one remains as it is, and the result is None where there is none."""
    if len(teachers) < 2:
        return teachers[0] if teachers else None
    return TrainedModel(
        ensemble_network([teacher.network for teacher in teachers], config.teacher),
        join_variables([teacher.variables for teacher in teachers]),
    )


def _load_network(place: naming.PlacedNetwork, config: RunConfig) -> TrainedModel:
    """Loads a teacher from a workdir or a file of weights."""
    network, path = place
    if not path.is_file():
        return load_student(path, config.dtype, network)
    info = loading.describe(config.data)
    variables = weights.load(path, network.name, info.num_classes, info.image_shape, **network.kwargs)
    return TrainedModel(create_network(network, info, config.dtype), devices.replicate(variables))


def create_network(network: StudentOptions, info: datasets.DatasetInfo, dtype: str) -> Network:
    """Creates a network for the classes of a data set, with batch statistics synchronised over the devices.

    Args:
        network: its name and arguments.
        info: the sizes of the data set.
        dtype: of the network's computations, a key of `models.DTYPES`.

    Raises:
        UserError: where a network of the user's own fails, or its output does not fit the data set.
        ValueError: for an unknown name or argument.
    """
    models.check_network(network.name, info.num_classes, info.image_shape, dtype=models.DTYPES[dtype], **network.kwargs)
    return models.create_network(
        network.name, info.num_classes, axis_name=devices.AXIS, dtype=models.DTYPES[dtype], **network.kwargs
    )
