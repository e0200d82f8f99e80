"""Checks of a whole configuration, before anything is compiled or written: one line names the mistake and the fix.

The values of single keys are checked by the dataclasses that hold them.
"""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax import methods
from rdd_jax.core.errors import UserError, is_plain_text
from rdd_jax.core.types import Distiller, ModelOutput
from rdd_jax.data import augmentation, loading, samplers
from rdd_jax.data.datasets import DatasetInfo
from rdd_jax.runs import layout, naming, records, trained_models
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.steps import teacher_cache, train_state
from rdd_jax.steps.ensemble import combine_by
from rdd_jax.steps.optimizer import make_optimizer
from rdd_jax.training.same_run import check_same_data, check_same_run, free_keys, refuse_differences
from rdd_jax.training.setup import make_sampler
from rdd_jax.training.teacher_checks import check_given_teacher


def check(config: RunConfig, workdir: Path, hint: str = "choose another --workdir") -> None:
    """Raises UserError for a run that cannot work, or whose workdir holds another run.

    Args:
        config: of the run.
        workdir: of the run.
        hint: how to fix a workdir that holds another run, for the message.
    """
    try:
        if not is_plain_text(str(workdir)):  # The file system would refuse it later.
            raise ValueError(f"a workdir cannot be called {str(workdir)!r}: give another --workdir, preset or pair")
        loading.check(config.data, config.augment)
        _check_distillation(config)
        _check_optimizer(config)
        _check_batch_size(config)
        _check_sampler(config, loading.describe(config.data).num_train)
        finished = records.is_finished(workdir)
        if (config.teacher.checkpoint or config.teacher.members) and not finished:
            for place in naming.teachers(config, workdir):
                check_given_teacher(config, place)
        if (workdir / layout.CONFIG).exists():
            check_same_run(config, workdir, hint)
            check_same_data(config, workdir)
        if not finished:
            check_required_runs(config, workdir)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:  # A path that is too long, or must not be read.
        raise UserError(f"{error.filename}: {error.strerror}; give another path") from error


def _check_distillation(config: RunConfig) -> None:
    """Raises ValueError for methods that cannot be used together with the teacher, the networks or the images."""
    info = loading.describe(config.data)
    # Labels of the right number and kind replace those that are not read yet.
    labels = np.arange(info.num_train) % info.num_classes
    if not loading.is_labelled(config.data):
        _check_needs_no_labels(config, labels)
    distiller = methods.from_options(config.distill, labels)
    _check_teacher_is_named(config)
    _check_mining(config, distiller, info.num_train)
    if config.teacher.members and (name := _needs_feature_maps(config, labels)):
        raise ValueError(f"{name} needs the maps of a single teacher: leave out --config.teacher.members")
    teacher_shapes = _check_shapes(config, distiller, info)
    if config.teacher.cache != "none":
        _check_cache(config, labels, teacher_shapes)


def _check_teacher_is_named(config: RunConfig) -> None:
    has_teacher = config.teacher.is_given or config.teacher.kind == "ema"
    if methods.reads_teacher(config.distill) and not has_teacher:
        raise ValueError(f"{methods.label(config.distill)} needs a teacher: set --config.teacher.name")
    if config.teacher.checkpoint and not config.teacher.name:
        raise ValueError("teacher.checkpoint needs the name of its network: set --config.teacher.name")


def _check_needs_no_labels(config: RunConfig, labels: np.ndarray) -> None:
    """Raises ValueError for a part of the run that needs the labels of training images which have none.

    Args:
        config: of the run.
        labels: i32[N], any labels, to create the methods.
    """
    none = f"needs labels, and the training images of {loading.dataset_name(config.data)} have none"
    for name, options in config.distill.items():
        if options["weight"] and methods.from_options({name: options}, labels).needs_labels:
            mend = "same_class_negatives=True" if name == "rdd" else "weight=0"
            raise ValueError(f"{name} {none}: set --config.distill.{name}.{mend}")
    if config.sampler.kind == "rho":
        raise ValueError(f"sampler.kind=rho {none}: set --config.sampler.kind=full")
    if config.sampler.balance:
        raise ValueError(f"sampler.balance {none}: set --config.sampler.balance=False")
    if config.teacher.weights == "confidence":
        raise ValueError(f"teacher.weights=confidence {none}: set --config.teacher.weights=entropy")
    if not (config.teacher.checkpoint or config.teacher.members):
        raise ValueError(f"the training of a teacher {none}: give a trained one by --config.teacher.checkpoint")


def _check_mining(config: RunConfig, distiller: Distiller, num_train: int) -> None:
    if config.mining.kind == "adaptive" and config.mining.probe > num_train:
        raise ValueError(f"mining.probe must be in [2, {num_train}], the training images; got {config.mining.probe}")
    if distiller.refresh and config.teacher.kind == "ema":
        raise ValueError(
            f"{methods.label(config.distill)} mines with a frozen teacher: set --config.teacher.kind=frozen"
        )
    if distiller.refresh and config.mining.start_epoch >= config.epochs:
        raise ValueError(
            f"{methods.label(config.distill)} would never mine: mining.start_epoch is {config.mining.start_epoch} and "
            f"epochs is {config.epochs}; set --config.mining.start_epoch=0"
        )


def _check_shapes(config: RunConfig, distiller: Distiller, info: DatasetInfo) -> list[ModelOutput]:
    """Returns the shapes of each teacher's output for an image, or of the student's in a run without a teacher.

    Raises:
        ValueError: by a network that cannot take the images, or a method that cannot take the networks' outputs.
    """
    networks = (config.student, *(naming.teacher_networks(config) or (config.student,)))
    student, *teachers = (
        train_state.output_shapes(trained_models.create_network(network, info, config.dtype), info.image_shape)
        for network in networks
    )
    teacher = teachers[0]
    if config.teacher.members:
        teacher = jax.eval_shape(combine_by(config.teacher), teachers)
    jax.eval_shape(distiller.init, jax.random.key(0), student, teacher)
    return teachers


def _check_optimizer(config: RunConfig) -> None:
    """Raises ValueError for an optimizer or arguments of it that optax refuses, from shapes alone."""
    optimizer = make_optimizer(
        config.optimizer, lambda step: config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    params = {"kernel": jnp.zeros((2, 2))}
    try:
        jax.eval_shape(lambda: optimizer.update(params, optimizer.init(params), params))
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise ValueError(
            f"optax.{config.optimizer.name} cannot be used with optimizer.kwargs {dict(config.optimizer.kwargs)} "
            f"({reason}): choose another optimizer.name or other kwargs"
        ) from error


def _check_cache(config: RunConfig, labels: np.ndarray, teachers: list[ModelOutput]) -> None:
    """Raises ValueError for a cache that cannot hold the teachers' outputs, whose shapes are of one image."""
    if not config.teacher.is_given:
        raise ValueError("teacher.cache needs a teacher: set --config.teacher.name")
    if loading.is_streamed(config.data):
        raise ValueError("a cache of teacher outputs is for images in memory: set --config.teacher.cache=none")
    if jax.process_count() > 1:
        raise ValueError("a cache of teacher outputs is for one process: set --config.teacher.cache=none")
    if config.sampler.kind == "rho":
        raise ValueError(
            "sampler.kind=rho trains on few of its candidates, and the cache would run the teacher on all: set "
            "--config.teacher.cache=none"
        )
    if name := _needs_feature_maps(config, labels):
        raise ValueError(
            f"{name} needs the teacher's maps, and a cache of its outputs holds logits and embeddings alone: set "
            "--config.teacher.cache=none"
        )
    for name in ("rand_ops", "erase", "mixup", "cutmix"):
        if getattr(config.augment, name):
            raise ValueError(
                f"a cache of teacher outputs holds crops and flips alone: set --config.augment.{name}=0 or "
                "--config.teacher.cache=none"
            )
    augmentations = augmentation.num_augmentations(config.augment.pad, config.augment.flip)
    values = sum(teacher.logits.shape[-1] + teacher.embedding.shape[-1] for teacher in teachers)
    size = teacher_cache.nbytes(len(labels), augmentations, values, config.teacher.cache_dtype) / 1e9
    if size > config.teacher.cache_gigabytes:
        raise ValueError(
            f"the cache may grow to {size:.1f} GB ({len(labels):,} images x {augmentations} augmentations x {values} "
            f"numbers): set --config.teacher.cache_gigabytes={math.ceil(size)}, cache_dtype=float16 for half of it, or "
            "cache=none"
        )


def _needs_feature_maps(config: RunConfig, labels: np.ndarray) -> str:
    """Returns the name of the first method whose loss reads feature maps; "" if there is none."""
    used = {name: options for name, options in config.distill.items() if options["weight"]}
    return next((name for name in used if methods.from_options({name: used[name]}, labels).needs_feature_maps), "")


def _check_sampler(config: RunConfig, num_examples: int) -> None:
    options = config.sampler
    if options.kind == "rho" and loading.is_streamed(config.data):
        raise ValueError("sampler.kind=rho chooses among images on the devices: set --config.data.loading=memory")
    if options.kind in samplers.RANKED_KINDS and not config.teacher.is_given:
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
        raise ValueError(
            f"batch_size {batch_size} is not divisible by the number of devices, {devices}: choose a multiple of it"
        )
    if config.augment.mixes and batch_size // devices % 2:
        raise ValueError(
            f"augment.mixup and augment.cutmix mix pairs of images, and batch_size {batch_size} gives each device "
            f"{batch_size // devices}: choose a multiple of {2 * devices}"
        )


def check_required_runs(config: RunConfig, workdir: Path) -> None:
    """Raises UserError if a teacher or holdout model beside the workdir is another than this run would train."""
    for wanted, path in naming.required_runs(config, workdir):
        if path.absolute() == workdir.absolute():
            raise ValueError(f"{workdir} is where this run's teacher is trained first: give another --workdir")
        if records.is_finished(path):
            differing = differences(records.read_config(path), wanted)
            free = free_keys(wanted, path)
            own = {key: pair for key, pair in differing.items() if naming.is_teacher_key(key) and key not in free}
            data = any(key.startswith("data") for key in own)
            refuse_differences(
                own,
                path,
                "name this run's own by --config.teacher.checkpoint, or delete that one"
                if data
                else f"--config.teacher.checkpoint={path} takes it as it is, or delete it",
            )
            check_same_data(wanted, path, hint=f"delete {path}")
        else:
            check(wanted, path, hint=f"finish that run with its own settings, or delete {path}")
