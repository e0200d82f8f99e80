"""Mistakes in a configuration, found before anything is compiled or written: one line that names mistake and mend."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rdd_jax import methods, models
from rdd_jax.core.errors import UserError, is_plain_text
from rdd_jax.core.types import ModelOutput
from rdd_jax.data import augmentation, loading, samplers
from rdd_jax.models import torch_import
from rdd_jax.models.torch_state_dict import Mismatch
from rdd_jax.runs import checkpointing, layout, naming, records, trained_models
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.steps import teacher_cache, train_state
from rdd_jax.training.setup import make_sampler

_FREE_KEYS = ("data.workers",)  # They change nothing about a run: who stopped it may go on with another value.
_TEACHER_PLACE = "teacher.checkpoint"  # Free as well where the same teacher is there.


def check(config: RunConfig, workdir: Path, mend: str = "choose another --workdir") -> None:
    """Raises UserError for a run that could not work, or would spoil another's workdir (`mend` says what then)."""
    try:
        if not is_plain_text(str(workdir)):  # As of NUL, or of what is no text: the file system would refuse it later.
            raise ValueError(f"a workdir cannot be called {str(workdir)!r}: give another --workdir, preset or pair")
        loading.check(config.data, config.augment)
        _check_names(config)
        _check_batch_size(config)
        _check_sampler(config, loading.describe(config.data).num_train)
        finished = records.is_finished(workdir)
        if config.teacher.checkpoint and not finished:
            _check_given_teacher(config, Path(config.teacher.checkpoint))
        if (workdir / layout.CONFIG).exists():
            _check_same_run(config, workdir, mend)
            check_same_data(config, workdir)
        if not finished:
            check_required_runs(config, workdir)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:  # A path that is too long, or that may not be read.
        raise UserError(f"{error.filename}: {error.strerror}; give another place") from error


def _check_names(config: RunConfig) -> None:
    info = loading.describe(config.data)
    # Labels of the right number and kind stand in for those that are not read yet.
    labels = np.arange(info.num_train) % info.num_classes
    distiller = methods.from_options(config.distill, labels)
    label = methods.label(config.distill)
    if label != methods.CROSS_ENTROPY and not config.teacher.name:
        raise ValueError(f"{label} needs a teacher: set --config.teacher.name")
    if config.teacher.checkpoint and not config.teacher.name:
        raise ValueError("teacher.checkpoint says where the teacher is, and not what: set --config.teacher.name")
    if config.mining.kind == "adaptive" and config.mining.probe > info.num_train:
        raise ValueError(
            f"mining.probe must be in [2, {info.num_train}], the training images; got {config.mining.probe}"
        )
    if distiller.refresh and config.mining.start_epoch >= config.epochs:
        raise ValueError(
            f"{label} would never mine: mining.start_epoch is {config.mining.start_epoch} and epochs is "
            f"{config.epochs}; set --config.mining.start_epoch=0"
        )
    # The networks' own errors about the images, and the method's about the networks, from shapes alone.
    names = (config.student.name, config.teacher.name or config.student.name)
    networks = (models.create(name, info.num_classes) for name in names)
    shapes = [train_state.output_shapes(network, info.image_shape) for network in networks]
    jax.eval_shape(distiller.init, jax.random.key(0), *shapes)
    if config.teacher.cache != "none":
        _check_cache(config, labels, shapes[1])


def _check_cache(config: RunConfig, labels: np.ndarray, teacher: ModelOutput) -> None:
    """Raises ValueError for a cache that cannot hold the teacher's outputs, whose shapes are of one image."""
    if not config.teacher.name:
        raise ValueError("teacher.cache keeps what a teacher says: set --config.teacher.name")
    if loading.is_streamed(config.data):
        raise ValueError("a cache of teacher outputs is for images in memory: set --config.teacher.cache=none")
    if jax.process_count() > 1:
        raise ValueError("a cache of teacher outputs is for one process: set --config.teacher.cache=none")
    if config.sampler.kind == "rho":
        raise ValueError(
            "sampler.kind=rho trains on few of its candidates, and a cache would ask the teacher about all: set "
            "--config.teacher.cache=none"
        )
    for name, options in config.distill.items():
        if options["weight"] and methods.from_options({name: options}, labels).needs_feature_maps:
            raise ValueError(
                f"{name} needs the teacher's maps, and a cache of its outputs holds logits and embeddings alone: "
                "set --config.teacher.cache=none"
            )
    augmentations = augmentation.num_augmentations(config.augment.pad, config.augment.flip)
    values = teacher.logits.shape[-1] + teacher.embedding.shape[-1]
    size = teacher_cache.nbytes(len(labels), augmentations, values, config.teacher.cache_dtype) / 1e9
    if size > config.teacher.cache_gigabytes:
        raise ValueError(
            f"the cache may grow to {size:.1f} GB ({len(labels):,} images x {augmentations} augmentations x {values} "
            f"numbers): set --config.teacher.cache_gigabytes={math.ceil(size)}, cache_dtype=float16 for half of it, or "
            "cache=none"
        )


def _check_sampler(config: RunConfig, num_examples: int) -> None:
    options = config.sampler
    if options.kind == "rho" and loading.is_streamed(config.data):
        raise ValueError("sampler.kind=rho chooses among images on the devices: set --config.data.loading=memory")
    if options.kind in samplers.RANKED and not config.teacher.name:
        raise ValueError(f"sampler.kind={options.kind} ranks images by the teacher: set --config.teacher.name")
    sampler = make_sampler(config, num_examples)
    if not sampler.steps(0):
        raise ValueError(
            f"the first epoch of sampler.kind={options.kind} has less than one batch of {config.batch_size}: choose a "
            "smaller batch_size, a larger share or fewer candidates"
        )


def _check_batch_size(config: RunConfig) -> None:
    batch_size, images, devices = config.batch_size, loading.describe(config.data).num_train, jax.device_count()
    if not 1 <= batch_size <= images:
        raise ValueError(
            f"batch_size must be in [1, {images}], the training images of {loading.dataset_name(config.data)}; got "
            f"{batch_size}"
        )
    if batch_size % devices:
        raise ValueError(f"batch_size {batch_size} does not divide by the {devices} devices: choose a multiple of them")


def check_required_runs(config: RunConfig, workdir: Path) -> None:
    """Raises UserError where a teacher or holdout model beside the workdir is not the one that this run would train."""
    for wanted, place in naming.required_runs(config, workdir):
        if place.absolute() == workdir.absolute():
            raise ValueError(f"{workdir} is where this run's teacher is trained first: give another --workdir")
        if records.is_finished(place):
            found = differences(records.read_config(place), wanted)
            own_keys = naming.TEACHER_KEYS - set(_free_keys(wanted, place))
            own = {key: pair for key, pair in found.items() if key in own_keys}
            data = any(key.startswith("data") for key in own)
            _check_same(
                own,
                place,
                "name this run's own by --config.teacher.checkpoint, or delete that one"
                if data
                else f"--config.teacher.checkpoint={place} takes it as it is, or delete it",
            )
            check_same_data(wanted, place, mend=f"delete {place}")
        else:
            check(wanted, place, mend=f"finish that run with its own settings, or delete {place}")


def _check_given_teacher(config: RunConfig, place: Path) -> None:
    if not place.exists():
        raise UserError(
            f"there is no {place}: --config.teacher.checkpoint takes the workdir of a run, or a file of weights by "
            "PyTorch's names (.pth, .safetensors)"
        )
    if place.is_file():
        _check_weights(config, place)
        return
    if (place / layout.EXPORTED_WEIGHTS).is_file():
        raise UserError(f"{place} is an export: set --config.teacher.checkpoint={place / layout.EXPORTED_WEIGHTS}")
    found = records.read_config(place)
    if loading.dataset_name(found.data) != loading.dataset_name(config.data) and not _has_same_images(config, place):
        raise UserError(
            f"the teacher in {place} was trained on {loading.dataset_name(found.data)}, not on "
            f"{loading.dataset_name(config.data)}"
        )
    if found.student.name != config.teacher.name:
        raise UserError(f"{place} holds a {found.student.name}: set --config.teacher.name={found.student.name}")
    if found.data.validation != config.data.validation:
        raise UserError(
            f"the teacher in {place} was trained with data.validation={found.data.validation} and may have seen what "
            f"is held out here: set --config.data.validation={found.data.validation}, or give another teacher"
        )
    _check_fits(config, found.student.name, place)
    if not records.is_finished(place):
        raise UserError(f"the teacher in {place} is not trained to its end: finish its run, or give another")
    checkpointing.latest_step(place)


def _check_fits(config: RunConfig, network: str, place: Path) -> None:
    """Raises UserError unless the `network` of another run is one for these classes and images."""
    ours, (theirs, class_names) = loading.describe(config.data), records.described_data(place)
    if loading.class_names(config.data, ours) != class_names:
        raise UserError(
            f"the teacher in {place} was trained on other classes than {loading.dataset_name(config.data)} has: give "
            "another"
        )
    if ours.image_shape != theirs.image_shape:
        networks = ((models.create(network, info.num_classes), info) for info in (ours, theirs))
        one, other = (models.variable_shapes(network, info.image_shape) for network, info in networks)
        if one != other:
            raise UserError(
                f"the teacher in {place} was trained on images of {theirs.image_shape}, and for {ours.image_shape} a "
                f"{network} has other parameters: give another"
            )


def _check_weights(config: RunConfig, path: Path) -> None:
    info = loading.describe(config.data)
    try:
        torch_import.load(path, config.teacher.name, info.num_classes, info.image_shape)
    except Mismatch as error:
        raise UserError(f"{error}; set --config.teacher.name and --config.dataset to what the file holds") from error


def _check_same_run(config: RunConfig, workdir: Path, mend: str) -> None:
    found, free = differences(records.read_config(workdir), config), _free_keys(config, workdir)
    _check_same({key: pair for key, pair in found.items() if key not in free}, workdir, mend)
    if _TEACHER_PLACE in found:
        trained_models.load_teacher(config, workdir)  # Refuses another teacher.


def _has_same_images(config: RunConfig, workdir: Path) -> bool:
    """Tells whether the run in `workdir` began with the images that `config` names, wherever they were then."""
    return loading.fingerprint(config.data) == records.read_data(workdir) != {}


def _free_keys(config: RunConfig, workdir: Path) -> tuple[str, ...]:
    """The keys that may differ from those of the run in `workdir`: the places of the same images and teacher."""
    places = {"data.folder": _has_same_images(config, workdir), _TEACHER_PLACE: bool(records.read_teacher(workdir))}
    return (*_FREE_KEYS, *(key for key, is_free in places.items() if is_free))


def check_same_data(config: RunConfig, workdir: Path, mend: str = "choose another --workdir") -> None:
    """Raises UserError where the images that `config` names are not those that the run in `workdir` began with.

    A data set of a fixed version has no fingerprint when it is read into memory, and is the same when it is streamed.
    """
    then, now = records.read_data(workdir), loading.fingerprint(config.data)
    for key in then | now if then and now else ():
        if now.get(key) != then.get(key):
            raise UserError(
                f"the data have changed since {workdir} began ({key}: {then.get(key)} then, {now.get(key)} now): put "
                f"them back, or {mend}"
            )


def _check_same(found: dict[str, tuple[Any, Any]], workdir: Path, mend: str) -> None:
    for key, (there, here) in found.items():
        more = f", and {len(found) - 1} more keys differ" if len(found) > 1 else ""
        raise UserError(f"{workdir} holds another run ({key} is {there} there, {here} here{more}): {mend}")
