"""The set-up of a run: the data, networks and functions that its configuration asks for."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from rdd_jax import methods, rdx
from rdd_jax.core import devices
from rdd_jax.core.types import Array, Distiller, OnBatch
from rdd_jax.data import loading, pipeline
from rdd_jax.data.augmentation import Augmentation
from rdd_jax.data.datasets import Dataset
from rdd_jax.data.mixing import Mixing
from rdd_jax.data.pipeline import PipelineDataset
from rdd_jax.data.samplers import RANKED_KINDS, Sampler
from rdd_jax.models import Network
from rdd_jax.runs import layout, naming
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import (
    TrainedModel,
    combine_teachers,
    create_network,
    load_teachers,
    make_input_normalizer,
)
from rdd_jax.steps import rho_loss, train_state
from rdd_jax.steps.embedding import Embed, make_embed
from rdd_jax.steps.evaluation import Evaluate, make_evaluate
from rdd_jax.steps.mining import Mine, Rank, Score, make_mine, make_rank, make_score
from rdd_jax.steps.optimizer import cosine_schedule, make_optimizer, stepped_schedule
from rdd_jax.steps.teacher import PrepareTeacher, TeacherFn, forward_teacher
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import TrainCall, TrainStep, make_train_call, make_train_step, skip_nonfinite_updates
from rdd_jax.steps.weight_average import average_weights, teach_by_average
from rdd_jax.training.frozen_networks import irreducible_losses, make_teacher
from rdd_jax.training.mining_schedule import MiningSchedule


class Experiment(NamedTuple):
    """The data, the networks and the functions of a run. The functions are compiled when they are first called.

    train: the training images.
    validation: the validation images; None where none are held out.
    test: the test images.
    student: the network that is trained.
    teacher: the frozen network with its variables, of several teachers as one; None for a run without a teacher.
    teachers: the teachers one by one.
    prepare_teacher: prepares the teacher's variables, or its precomputed outputs, before each epoch.
    schedule: maps the number of updates done to the learning rate.
    sampler: chooses the images of each epoch's batches.
    epoch_starts: the first step of each epoch, and the number of steps of the run.
    steps_per_call: the largest number of updates in one call of `train_call`.
    init: makes the state before the first update, from a seed.
    train_call: does several updates.
    make_evaluate: makes the function that evaluates a network on images that are normalised as in training.
    make_embed: makes the function that embeds such images by a network.
    rank: ranks the teacher's embeddings once for all minings; None where the ranks are not kept.
    mine: mines the training set; None for methods that do not mine.
    mining_schedule: decides before which epochs the training set is mined; None for methods that do not mine.
    score: ranks the training images by difficulty, for the sampler.
    irreducible_losses: computes the holdout models' loss f32[n] of every training image; None unless the sampler is
        "rho".
    histograms: returns the values of the distiller's state whose distribution is logged after each mining.
    """

    train: PipelineDataset
    validation: PipelineDataset | None
    test: PipelineDataset
    student: Network
    teacher: TrainedModel | None
    teachers: tuple[TrainedModel, ...]
    prepare_teacher: PrepareTeacher
    schedule: optax.Schedule
    sampler: Sampler
    epoch_starts: list[int]
    steps_per_call: int
    init: Callable[[int], TrainState]
    train_call: TrainCall
    make_evaluate: Callable[[Network], Evaluate]
    make_embed: Callable[[Network], Embed]
    rank: Rank | None
    mine: Mine | None
    mining_schedule: MiningSchedule | None
    score: Score
    irreducible_losses: Callable[[OnBatch], Array] | None
    histograms: Callable[[Any], dict[str, Array]]


def build(config: RunConfig, workdir: Path) -> Experiment:
    """Reads the data, restores the teacher and makes the functions; compiles nothing yet.

    Args:
        config: of the run.
        workdir: of the run; teachers, holdout models and cached teacher outputs are looked for beside it.

    Raises:
        UserError: where the data or the teacher cannot be read, or the run began with another teacher.
    """
    dataset = loading.load(config.data, resized_crop=config.augment.resized_crop, seed=config.seed)
    teachers = load_teachers(config, workdir)
    teacher = combine_teachers(config, teachers)
    student = create_network(config.student, loading.describe(config.data), config.dtype)

    sampler = make_sampler(config, len(dataset.train_labels))
    starts = [0, *itertools.accumulate(sampler.steps(epoch) for epoch in range(config.epochs))]
    distiller = methods.from_options(config.distill, dataset.train_labels, starts[:-1])
    schedule = _schedule(config, starts)
    optimizer = make_optimizer(config.optimizer, schedule, momentum=config.momentum, weight_decay=config.weight_decay)
    normalize = make_input_normalizer(dataset)
    augmentation = Augmentation(config.augment, normalize)
    train, validation, test = _put_splits(dataset)
    shared = naming.shared_folder(workdir)
    teacher_fn, prepare_teacher = make_teacher(config, teachers, train, augmentation, shared / layout.TEACHER_OUTPUTS)
    if config.teacher.kind == "ema":
        teacher_fn = forward_teacher(student)
    steps_per_call = _steps_per_call(config, sampler, train)
    rho = config.sampler.kind == "rho"
    mining_schedule = MiningSchedule(config.mining) if distiller.refresh else None
    train_step = _make_train_step(config, student, teacher_fn, distiller, optimizer, augmentation)
    train_call = make_train_call(train_step, steps_per_call)
    return Experiment(
        train=train,
        validation=validation,
        test=test,
        student=student,
        teacher=teacher,
        teachers=teachers,
        prepare_teacher=prepare_teacher,
        schedule=jax.jit(schedule),
        sampler=sampler,
        epoch_starts=starts,
        steps_per_call=steps_per_call,
        init=lambda seed: train_state.create(
            seed,
            train.image_shape,
            student,
            teacher.network if teacher else student,
            distiller,
            optimizer,
            num_scores=len(train) if rho or config.sampler.kind in RANKED_KINDS else 0,
            num_probes=mining_schedule.num_probes if mining_schedule else 0,
            counts_skipped=config.nonfinite == "skip",
            has_average=config.optimizer.ema > 0,
        ),
        train_call=devices.data_parallel(train_call, in_axes=(None, train.in_axes, None, None), donated=(0,)),
        make_evaluate=partial(make_evaluate, normalize=normalize),
        make_embed=partial(make_embed, normalize=normalize),
        rank=make_rank() if _ranks_once(config, len(train)) else None,
        mine=make_mine(distiller.refresh) if distiller.refresh else None,
        mining_schedule=mining_schedule,
        score=make_score(),
        irreducible_losses=partial(irreducible_losses, config, shared, train, normalize) if rho else None,
        histograms=distiller.histograms,
    )


def _put_splits(dataset: Dataset) -> tuple[PipelineDataset, PipelineDataset | None, PipelineDataset]:
    """Puts the training, validation and test images on the devices, unless they are streamed."""
    train = pipeline.put(dataset.train_images, dataset.train_labels)
    test = pipeline.put(dataset.test_images, dataset.test_labels)
    if dataset.validation_images is None:
        return train, None, test
    return train, pipeline.put(dataset.validation_images, dataset.validation_labels), test


def _make_train_step(
    config: RunConfig,
    student: Network,
    teacher_fn: TeacherFn | None,
    distiller: Distiller,
    optimizer: optax.GradientTransformation,
    augmentation: Augmentation,
) -> TrainStep:
    """Makes the training step of one device."""
    select = None
    if config.sampler.kind == "rho":
        select = rho_loss.reducible_loss(student, augmentation, keep=config.batch_size // jax.device_count())
    mix = None
    if config.augment.mixes:
        mix = Mixing(config.augment.mixup, config.augment.cutmix, loading.describe(config.data).num_classes)
    train_step = make_train_step(
        student, teacher_fn, distiller, optimizer, augmentation, select=select, mix=mix, axis_name=devices.AXIS
    )
    if config.teacher.kind == "ema":
        train_step = teach_by_average(train_step)
    if config.optimizer.ema:
        train_step = average_weights(train_step, config.optimizer.ema)
    return skip_nonfinite_updates(train_step) if config.nonfinite == "skip" else train_step


def make_sampler(config: RunConfig, num_examples: int) -> Sampler:
    """Makes the sampler of a run with so many training images."""
    return Sampler(config.sampler, num_examples, config.batch_size, config.seed)


def _steps_per_call(config: RunConfig, sampler: Sampler, train: PipelineDataset) -> int:
    usual = 1 if jax.default_backend() == "cpu" else min(100, sampler.steps(0))
    return train.limit_steps(config.steps_per_call or usual, config.batch_size)


def _schedule(config: RunConfig, epoch_starts: list[int]) -> optax.Schedule:
    warmup_steps = round(np.interp(config.warmup_epochs, range(len(epoch_starts)), epoch_starts))
    if config.optimizer.schedule == "cosine":
        return cosine_schedule(config.learning_rate, steps=epoch_starts[-1], warmup_steps=warmup_steps)
    falls = config.milestones if config.optimizer.schedule == "step" else ()
    return stepped_schedule(
        config.learning_rate,
        milestones=[epoch_starts[round(share * config.epochs)] for share in falls],
        factor=config.learning_rate_factor,
        warmup_steps=warmup_steps,
    )


def _ranks_once(config: RunConfig, num_examples: int) -> bool:
    """Tells whether the ranks of the teacher's embeddings are kept for all minings."""
    fits = rdx.ranks_nbytes(num_examples) <= config.mining.ranks_gigabytes * 1e9
    # Mining among candidates does not use ranks among all examples.
    has_candidates = any(options["weight"] and options.get("candidates") for options in config.distill.values())
    return fits and not has_candidates
