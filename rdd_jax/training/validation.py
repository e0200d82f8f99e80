"""Mistakes in a configuration, found before anything is compiled or written: one line that names mistake and mend."""

import math
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from rdd_jax import methods, models
from rdd_jax.core import io
from rdd_jax.core.errors import UserError, is_plain_text, unknown_name_message
from rdd_jax.core.types import ModelOutput
from rdd_jax.data import augmentation, loading, samplers
from rdd_jax.data.samplers import Sampler
from rdd_jax.models import torch_import
from rdd_jax.models.torch_state_dict import Mismatch
from rdd_jax.runs import checkpointing, layout, naming, records, trained_models
from rdd_jax.steps import mining, teacher_cache, train_state
from rdd_jax.training import nonfinite

_FREE_KEYS = ("data.workers",)  # They change nothing about a run: who stopped it may go on with another value.
_TEACHER_PLACE = "teacher.checkpoint"  # Free as well where the same teacher is there.
_MOST_PROBES = 4096  # Comparing pools takes time with the third power.
_SEEDS = 2**31  # seeds are i32, and so is whatever is counted
# By the last part of the key: more than any machine has time or memory for, and so a slip.
_MOST = {
    "dim": 10**5,
    "epochs": 10**6,
    "image_size": 10**4,
    "num_negatives": 10**6,
    "pad": 1000,
    "steps_per_call": 10**5,
}


def check(config: ml_collections.ConfigDict, workdir: Path, mend: str = "choose another --workdir") -> None:
    """Raises UserError for a run that could not work, or would spoil another's workdir (`mend` says what then)."""
    try:
        if not is_plain_text(str(workdir)):  # As of NUL, or of what is no text: the file system would refuse it later.
            raise ValueError(f"a workdir cannot be called {str(workdir)!r}: give another --workdir, preset or pair")
        _check_numbers(config)
        loading.check(config)
        _check_names(config)
        _check_batch_size(config)
        _check_sampler(config, loading.describe(config).num_train)
        finished = records.is_finished(workdir)
        if config.teacher.checkpoint and not finished:
            _check_given_teacher(config, Path(config.teacher.checkpoint))
        if (workdir / layout.CONFIG).exists():
            _check_same_run(config, workdir, mend)
            check_same_data(config, workdir)
        if not finished:
            check_prerequisites(config, workdir)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:  # A path that is too long, or that may not be read.
        raise UserError(f"{error.filename}: {error.strerror}; give another place") from error


def _check_numbers(config: ml_collections.ConfigDict) -> None:
    for key, value in io.flatten(config.to_dict()):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} must be finite; got {value}")
        most = _MOST.get(key.rpartition(".")[2], _SEEDS - 1)
        if isinstance(value, int) and value > most:
            raise ValueError(f"{key} must be at most {most:,}; got {value}")
    positive = ("epochs", "eval_every_epochs", "learning_rate", "learning_rate_factor", "checkpoint_every_epochs")
    for key in positive:
        if not config[key] > 0:
            raise ValueError(f"{key} must be above 0; got {config[key]}")
    for key in ("weight_decay", "warmup_epochs", "steps_per_call"):
        if not config[key] >= 0:
            raise ValueError(f"{key} must not be negative; got {config[key]}")
    if not 0 <= config.seed < _SEEDS:
        raise ValueError(f"seed must be in [0, 2**31); got {config.seed}")
    if not 0 <= config.momentum < 1:
        raise ValueError(f"momentum must be in [0, 1); got {config.momentum}")
    if config.augment.pad < 0:
        raise ValueError(f"augment.pad must not be negative; got {config.augment.pad}")
    if not all(isinstance(share, float) and 0 < share < 1 for share in config.milestones):
        raise ValueError(f"milestones are shares of the epochs, as in (0.5, 0.75); got {config.milestones}")
    if config.dtype not in models.DTYPES:
        raise ValueError(unknown_name_message("dtype", config.dtype, models.DTYPES))
    if config.on_nan not in nonfinite.POLICIES:
        raise ValueError(unknown_name_message("on_nan", config.on_nan, nonfinite.POLICIES))
    if config.teacher.cache not in ("none", "views"):
        raise ValueError(unknown_name_message("teacher.cache", config.teacher.cache, ("none", "views")))
    if config.teacher.cache_dtype not in teacher_cache.DTYPES:
        raise ValueError(unknown_name_message("teacher.cache_dtype", config.teacher.cache_dtype, teacher_cache.DTYPES))


def _check_names(config: ml_collections.ConfigDict) -> None:
    info = loading.describe(config)
    # Labels of the right number and kind stand in for those that are not read yet.
    labels = np.arange(info.num_train) % info.num_classes
    distiller = methods.from_options(config.distill.to_dict(), labels)
    label = methods.label(config.distill)
    if label != methods.LABELS_ALONE and not config.teacher.name:
        raise ValueError(f"{label} needs a teacher: set --config.teacher.name")
    if config.teacher.checkpoint and not config.teacher.name:
        raise ValueError("teacher.checkpoint says where the teacher is, and not what: set --config.teacher.name")
    _check_refresh(config, info.num_train)
    if distiller.refresh and config.refresh.start_epoch >= config.epochs:
        raise ValueError(
            f"{label} would never mine: refresh.start_epoch is {config.refresh.start_epoch} and epochs is "
            f"{config.epochs}; set --config.refresh.start_epoch=0"
        )
    # The networks' own errors about the images, and the method's about the networks, from shapes alone.
    names = (config.student.name, config.teacher.name or config.student.name)
    networks = (models.create(name, info.num_classes) for name in names)
    shapes = [train_state.output_shapes(network, info.image_shape) for network in networks]
    jax.eval_shape(distiller.init, jax.random.key(0), *shapes)
    if config.teacher.cache != "none":
        _check_cache(config, labels, shapes[1])


def _check_cache(config: ml_collections.ConfigDict, labels: np.ndarray, teacher: ModelOutput) -> None:
    """Raises ValueError for a cache that cannot hold the teacher's outputs, whose shapes are of one image."""
    if not config.teacher.name:
        raise ValueError("teacher.cache keeps what a teacher says: set --config.teacher.name")
    if loading.is_streamed(config):
        raise ValueError("a cache of views is for images in memory: set --config.teacher.cache=none")
    if jax.process_count() > 1:
        raise ValueError("a cache of views is for one process: set --config.teacher.cache=none")
    if config.sampler.kind == "rho":
        raise ValueError(
            "sampler.kind=rho trains on few of its candidates, and a cache would ask the teacher about all: set "
            "--config.teacher.cache=none"
        )
    for name, options in config.distill.items():
        if options.weight and methods.from_options({name: options}, labels).needs_feature_maps:
            raise ValueError(
                f"{name} needs the teacher's maps, and a cache of views holds its logits and embeddings alone: "
                "set --config.teacher.cache=none"
            )
    views = augmentation.num_views(config.augment.pad, config.augment.flip)
    values = teacher.logits.shape[-1] + teacher.embedding.shape[-1]
    size = teacher_cache.nbytes(len(labels), views, values, config.teacher.cache_dtype) / 1e9
    if size > config.teacher.cache_gigabytes:
        raise ValueError(
            f"the cache may grow to {size:.1f} GB ({len(labels):,} images x {views} views x {values} numbers): set "
            f"--config.teacher.cache_gigabytes={math.ceil(size)}, cache_dtype=float16 for half of it, or cache=none"
        )


def _check_refresh(config: ml_collections.ConfigDict, num_examples: int) -> None:
    options = config.refresh
    if options.kind not in mining.KINDS:
        raise ValueError(unknown_name_message("refresh.kind", options.kind, mining.KINDS))
    if options.start_epoch < 0 or options.epochs < 1:
        raise ValueError(
            f"refresh.start_epoch must not be negative and epochs at least 1; got {options.start_epoch} and "
            f"{options.epochs} (--config.refresh.kind=once mines but once)"
        )
    if not 0 < options.threshold <= 1:
        raise ValueError(f"refresh.threshold is a share in (0, 1]; got {options.threshold}")
    most = min(num_examples, _MOST_PROBES) if options.kind == "adaptive" else _MOST_PROBES
    if not 2 <= options.probe <= most:
        raise ValueError(f"refresh.probe must be in [2, {most}]; got {options.probe}")
    if options.ranks_gigabytes < 0:
        raise ValueError(f"refresh.ranks_gigabytes must not be negative; got {options.ranks_gigabytes}")


def _check_sampler(config: ml_collections.ConfigDict, num_examples: int) -> None:
    options = config.sampler
    if options.kind not in samplers.KINDS:
        raise ValueError(unknown_name_message("sampler.kind", options.kind, samplers.KINDS))
    for key in ("fraction", "start_fraction"):
        if not 0 < options[key] <= 1:
            raise ValueError(f"sampler.{key} is a share in (0, 1]; got {options[key]}")
    if options.pace_epochs < 1 or options.candidates < 2 or options.refresh_epochs < 0:
        raise ValueError(
            "sampler.pace_epochs must be at least 1, candidates at least 2 and refresh_epochs at least 0; got "
            f"{options.pace_epochs}, {options.candidates} and {options.refresh_epochs}"
        )
    if options.kind == "rho" and loading.is_streamed(config):
        raise ValueError("sampler.kind=rho chooses among images on the devices: set --config.data.loading=memory")
    if options.kind in samplers.RANKED and not config.teacher.name:
        raise ValueError(f"sampler.kind={options.kind} ranks images by the teacher: set --config.teacher.name")
    sampler = Sampler(num_examples=num_examples, batch_size=config.batch_size, seed=config.seed, **options)
    if not sampler.steps(0):
        raise ValueError(
            f"the first epoch of sampler.kind={options.kind} has less than one batch of {config.batch_size}: choose a "
            "smaller batch_size, a larger share or fewer candidates"
        )


def _check_batch_size(config: ml_collections.ConfigDict) -> None:
    batch_size, images, devices = config.batch_size, loading.describe(config).num_train, jax.device_count()
    if not 1 <= batch_size <= images:
        raise ValueError(
            f"batch_size must be in [1, {images}], the training images of {loading.name(config)}; got {batch_size}"
        )
    if batch_size % devices:
        raise ValueError(f"batch_size {batch_size} does not divide by the {devices} devices: choose a multiple of them")


def check_prerequisites(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Raises UserError where a teacher or holdout model beside the workdir is not the one that this run would train."""
    for wanted, place in naming.prerequisites(config, workdir):
        if place.absolute() == workdir.absolute():
            raise ValueError(f"{workdir} is where this run's teacher is trained first: give another --workdir")
        if records.is_finished(place):
            differences = records.differences(records.read_config(place), wanted)
            own_keys = naming.TEACHER_KEYS - set(_free_keys(wanted, place))
            own = {key: pair for key, pair in differences.items() if key in own_keys}
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


def _check_given_teacher(config: ml_collections.ConfigDict, place: Path) -> None:
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
    if loading.name(found) != loading.name(config) and not _has_same_images(config, place):
        raise UserError(f"the teacher in {place} was trained on {loading.name(found)}, not on {loading.name(config)}")
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


def _check_fits(config: ml_collections.ConfigDict, network: str, place: Path) -> None:
    """Raises UserError unless the `network` of another run is one for these classes and images."""
    ours, (theirs, class_names) = loading.describe(config), records.described_data(place)
    if loading.class_names(config, ours) != class_names:
        raise UserError(
            f"the teacher in {place} was trained on other classes than {loading.name(config)} has: give another"
        )
    if ours.image_shape != theirs.image_shape:
        networks = ((models.create(network, info.num_classes), info) for info in (ours, theirs))
        one, other = (models.variable_shapes(network, info.image_shape) for network, info in networks)
        if one != other:
            raise UserError(
                f"the teacher in {place} was trained on images of {theirs.image_shape}, and for {ours.image_shape} a "
                f"{network} has other parameters: give another"
            )


def _check_weights(config: ml_collections.ConfigDict, path: Path) -> None:
    info = loading.describe(config)
    try:
        torch_import.load(path, config.teacher.name, info.num_classes, info.image_shape)
    except Mismatch as error:
        raise UserError(f"{error}; set --config.teacher.name and --config.dataset to what the file holds") from error


def _check_same_run(config: ml_collections.ConfigDict, workdir: Path, mend: str) -> None:
    differences, free = records.differences(records.read_config(workdir), config), _free_keys(config, workdir)
    _check_same({key: pair for key, pair in differences.items() if key not in free}, workdir, mend)
    if _TEACHER_PLACE in differences:
        trained_models.load_teacher(config, workdir)  # Refuses another teacher.


def _has_same_images(config: ml_collections.ConfigDict, workdir: Path) -> bool:
    """Tells whether the run in `workdir` began with the images that `config` names, wherever they were then."""
    return loading.fingerprint(config) == records.read_data(workdir) != {}


def _free_keys(config: ml_collections.ConfigDict, workdir: Path) -> tuple[str, ...]:
    """The keys that may differ from those of the run in `workdir`: the places of the same images and teacher."""
    places = {"data.folder": _has_same_images(config, workdir), _TEACHER_PLACE: bool(records.read_teacher(workdir))}
    return (*_FREE_KEYS, *(key for key, is_free in places.items() if is_free))


def check_same_data(config: ml_collections.ConfigDict, workdir: Path, mend: str = "choose another --workdir") -> None:
    """Raises UserError where the images that `config` names are not those that the run in `workdir` began with.

    A data set of a fixed version has no fingerprint when it is read into memory, and is the same when it is streamed.
    """
    then, now = records.read_data(workdir), loading.fingerprint(config)
    for key in then | now if then and now else ():
        if now.get(key) != then.get(key):
            raise UserError(
                f"the data have changed since {workdir} began ({key}: {then.get(key)} then, {now.get(key)} now): put "
                f"them back, or {mend}"
            )


def _check_same(differences: dict[str, tuple[Any, Any]], workdir: Path, mend: str) -> None:
    for key, (there, here) in differences.items():
        more = f", and {len(differences) - 1} more keys differ" if len(differences) > 1 else ""
        raise UserError(f"{workdir} holds another run ({key} is {there} there, {here} here{more}): {mend}")
