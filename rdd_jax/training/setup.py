"""From a configuration to everything that a run computes with."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdd_jax import methods, rdx
from rdd_jax.core import devices
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data import augmentation, datasets, loading, pipeline
from rdd_jax.data.samplers import RANKED, Sampler
from rdd_jax.data.streaming import Stream
from rdd_jax.runs import layout, naming
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import TrainedModel, create_model, load_student, load_teacher, make_input_normalizer
from rdd_jax.steps import rho_loss, train_state
from rdd_jax.steps import teacher as teaching
from rdd_jax.steps.embedding import Embed, make_embed
from rdd_jax.steps.evaluation import Evaluate, make_evaluate
from rdd_jax.steps.mining import make_rank, make_refresh, make_score
from rdd_jax.steps.optimizer import sgd, stepped_schedule
from rdd_jax.steps.teacher import Teach
from rdd_jax.steps.teacher_cache import ViewCache
from rdd_jax.steps.teacher_precompute import GiveLessons, cache_path, make_lessons
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import make_train_call, make_train_step, skip_poison
from rdd_jax.training.mining_schedule import MiningSchedule

_STREAMED_BYTES = 2**26  # Of images that a call is sent.


class Split(NamedTuple):
    """One split: images uint8[n,h,w,c], replicated or streamed, and labels i32[n], replicated."""

    images: Array | Stream
    labels: Array


class Experiment(NamedTuple):
    """The data, the networks and the compiled functions of a run; how each is called stands where it is made."""

    train: Split
    validation: Split | None
    test: Split
    student: nn.Module
    teacher: TrainedModel | None
    lessons: GiveLessons
    schedule: optax.Schedule
    sampler: Sampler
    epoch_starts: list[int]  # The first step of each epoch, and the end.
    steps_per_call: int
    init: Callable[[int], TrainState]
    train_call: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[[nn.Module], Evaluate]
    embed: Callable[[nn.Module], Embed]
    rank: Callable[[Array], rdx.RankedEmbeddings] | None  # None where the teacher's ranks are not kept.
    mine: Callable[[TrainState, Array, Array | rdx.RankedEmbeddings], TrainState] | None
    mining_schedule: MiningSchedule | None  # None for methods that do not mine.
    score: Callable[[Array, Array | rdx.RankedEmbeddings], Array]
    irreducible_losses: Callable[[OnBatch], Array] | None
    histograms: Callable[[Any], dict[str, Array]]

    def shown(self, first_step: int, calls: Sequence[np.ndarray]) -> Iterator[Any]:
        """What each of these calls of `update`, from update `first_step` on, is to be shown."""
        return pipeline.of(self.train.images).trained(first_step, calls, self.steps_per_call)

    def update(
        self, state: TrainState, teaching: Any, shown: Any, batches: np.ndarray
    ) -> tuple[TrainState, dict[str, Array]]:
        """Sends up to `steps_per_call` updates to the devices: batches i32[steps,rows] of positions."""
        indices = np.zeros((self.steps_per_call, batches.shape[1]), np.int32)
        indices[: len(batches)] = batches
        steps = np.int32(len(batches))
        return self.train_call(state, teaching, shown, self.train.labels, devices.split_over_devices(indices), steps)


def build(config: RunConfig, workdir: Path) -> Experiment:
    """Reads the data, restores the teacher and makes the functions; compiles nothing yet.

    Args:
        config: of the run.
        workdir: of the run; teachers, holdout models and cached views are looked for beside it.

    Raises:
        UserError: where the data or the teacher cannot be read, or the run began with another teacher.
    """
    dataset = loading.load(config.data, resized_crop=config.augment.resized_crop, seed=config.seed)
    teacher = load_teacher(config, workdir)
    student = create_model(config.student.name, loading.describe(config.data), config.dtype)
    distiller = methods.from_options(config.distill, dataset.train_labels)

    sampler = make_sampler(config, len(dataset.train_labels))
    starts = [0, *itertools.accumulate(sampler.steps(epoch) for epoch in range(config.epochs))]
    schedule = _schedule(config, starts)
    optimizer = sgd(schedule, momentum=config.momentum, weight_decay=config.weight_decay)
    normalize = make_input_normalizer(dataset)
    views = augmentation.Views(config.augment.pad, config.augment.flip, normalize)
    train = Split(pipeline.place(dataset.train_images), devices.replicate(dataset.train_labels))
    test = Split(pipeline.place(dataset.test_images), devices.replicate(dataset.test_labels))
    validation = None
    if dataset.validation_images is not None:
        validation = Split(pipeline.place(dataset.validation_images), devices.replicate(dataset.validation_labels))
    shared = naming.shared_folder(workdir)
    teach, lessons = _teaching(config, teacher, train.images, views, shared / layout.VIEWS)
    steps_per_call = _steps_per_call(config, sampler, dataset)
    rho = config.sampler.kind == "rho"
    mining_schedule = MiningSchedule(config.mining) if distiller.refresh else None
    keep = config.batch_size // jax.device_count()
    select = rho_loss.reducible_loss(student, views.show_random, keep=keep) if rho else None
    feed = type(pipeline.of(train.images))
    train_step = make_train_step(
        student, teach, distiller, optimizer, views.show_random, select=select, feed=feed, axis_name=devices.AXIS
    )
    if config.nonfinite == "skip":
        train_step = skip_poison(train_step)
    return Experiment(
        train=train,
        validation=validation,
        test=test,
        student=student,
        teacher=teacher,
        lessons=lessons,
        schedule=jax.jit(schedule),
        sampler=sampler,
        epoch_starts=starts,
        steps_per_call=steps_per_call,
        init=lambda seed: train_state.create(
            seed,
            dataset.train_images.shape[1:],
            student,
            teacher.model if teacher else student,
            distiller,
            optimizer,
            num_scores=len(dataset.train_labels) if rho or config.sampler.kind in RANKED else 0,
            num_probes=mining_schedule.num_probes if mining_schedule else 0,
            skips=config.nonfinite == "skip",
        ),
        train_call=_compiled(make_train_call(train_step, steps_per_call, feed), feed),
        evaluate=partial(make_evaluate, normalize=normalize),
        embed=partial(make_embed, normalize=normalize),
        rank=make_rank() if _ranks_once(config, len(train.images)) else None,
        mine=make_refresh(distiller) if distiller.refresh else None,
        mining_schedule=mining_schedule,
        score=make_score(),
        irreducible_losses=partial(_irreducible_losses, config, shared, train, normalize) if rho else None,
        histograms=distiller.histograms,
    )


def _compiled(train_call: Callable[..., Any], feed: type[pipeline.Feed]) -> Callable[..., Any]:
    return devices.data_parallel(train_call, in_axes=(None, None, feed.in_axis, None, 0, None), donated=(0,))


def make_sampler(config: RunConfig, num_examples: int) -> Sampler:
    """Makes the sampler of a run with so many training images."""
    options = dataclasses.asdict(config.sampler)
    return Sampler(num_examples=num_examples, batch_size=config.batch_size, seed=config.seed, **options)


def _steps_per_call(config: RunConfig, sampler: Sampler, dataset: datasets.Dataset) -> int:
    usual = 1 if jax.default_backend() == "cpu" else min(100, sampler.steps(0))
    asked = config.steps_per_call or usual
    if not pipeline.is_streamed(dataset.train_images):
        return asked
    batch = config.batch_size * math.prod(dataset.train_images.shape[1:])
    return max(1, min(asked, _STREAMED_BYTES // batch))


def _schedule(config: RunConfig, epoch_starts: list[int]) -> optax.Schedule:
    return stepped_schedule(
        config.learning_rate,
        milestones=[epoch_starts[round(share * config.epochs)] for share in config.milestones],
        factor=config.learning_rate_factor,
        warmup_steps=round(np.interp(config.warmup_epochs, range(len(epoch_starts)), epoch_starts)),
    )


def _teaching(
    config: RunConfig,
    teacher: TrainedModel | None,
    images: Array | Stream,
    views: augmentation.Views,
    folder: Path,
) -> tuple[Teach | None, GiveLessons]:
    """How a step has the teacher's outputs, and what an epoch's steps have them from."""
    if not teacher or methods.label(config.distill) == methods.CROSS_ENTROPY:
        return None, lambda first_step, batches, on_batch=None: ({}, {})
    model, variables = teacher
    if config.teacher.cache == "none":
        return teaching.live(model), lambda first_step, batches, on_batch=None: (variables, {})
    embedding = train_state.output_shapes(model, images.shape[1:]).embedding
    sizes = {
        "num_examples": len(images),
        "num_views": augmentation.num_views(views.pad, views.flip),
        "num_values": model.num_classes + embedding.shape[-1],
        "dtype": config.teacher.cache_dtype,
    }
    path = cache_path(
        folder,
        config.teacher.name,
        (variables, images, views.show(images[:1], jnp.zeros(1, jnp.int32))),
        augment=dataclasses.asdict(config.augment),
        # Rounding may differ between programs, and with the rows of a batch.
        computed=[config.dtype, config.batch_size, jax.local_device_count(), jax.default_backend(), jax.__version__],
        **sizes,
    )
    cache = ViewCache(path, **sizes)
    return teaching.remembered, make_lessons(model, variables, images, views, cache, config.seed)


def _ranks_once(config: RunConfig, num_examples: int) -> bool:
    """Tells whether the ranks of the teacher's embeddings are kept for all minings."""
    fits = rdx.ranks_nbytes(num_examples) <= config.mining.ranks_gigabytes * 1e9
    # Mining among candidates does not use ranks among all examples.
    has_candidates = any(options["weight"] and options.get("candidates") for options in config.distill.values())
    return fits and not has_candidates


def _irreducible_losses(
    config: RunConfig,
    shared: Path,
    train: Split,
    normalize: Callable[[Array], Array],
    on_batch: OnBatch,
) -> Array:
    """The cross-entropy f32[n] of every training image by the network that was trained on the other half of them."""
    losses = {}
    for part in ("even", "odd"):
        network = load_student(shared / naming.run_name(naming.holdout_config(config, part)), config.dtype)
        judge = make_embed(network.model, normalize, show=lambda outputs: outputs.logits)
        logits = judge(network.variables, train.images, on_batch)
        losses[part] = optax.losses.softmax_cross_entropy_with_integer_labels(logits, train.labels)
    is_even = jnp.arange(len(train.labels)) % 2 == 0
    return devices.replicate(jnp.where(is_even, losses["odd"], losses["even"]))
