"""The benchmark's workloads in JAX. Each function prepares one and returns a callable that runs it and waits for it."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from rdd_jax import methods, models, rdx
from rdd_jax.core import devices
from rdd_jax.data import augmentation, datasets, pipeline
from rdd_jax.data.options import AugmentOptions
from rdd_jax.data.pipeline import DeviceDataset
from rdd_jax.data.samplers import epoch_batches
from rdd_jax.steps import train_state
from rdd_jax.steps.optimizer import OptimizerOptions, make_optimizer
from rdd_jax.steps.teacher import TeacherOutputs, cached_teacher, forward_teacher
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import make_train_call, make_train_step


class TrainStep:
    """Runs a number of updates in each call, and waits for the result.

    Attributes:
        state: the train state before the next call, which donates its buffers.
        multiply_adds: of the networks in one update, gradients included.
    """

    def __init__(
        self,
        call: Callable[..., tuple[TrainState, dict[str, Any]]],
        state: TrainState,
        train: DeviceDataset,
        teacher: Any,
        batches: np.ndarray,
        *,
        steps_per_call: int,
        multiply_adds: int,
    ):
        """Stores what a call needs.

        Args:
            call: of `make_train_call`, over the devices.
            state: replicated.
            train: the images and labels.
            teacher: the teacher's variables or outputs, replicated.
            batches: indices i32[steps,b] of an epoch, which is repeated.
            steps_per_call: updates in one call.
            multiply_adds: of the networks in one update.
        """
        self.state = state
        self.multiply_adds = multiply_adds
        self._train = train
        self._teacher = teacher
        self._call = call
        self._batches = batches
        self._steps_per_call = steps_per_call
        self._position = 0

    def __call__(self) -> tuple[int, dict[str, Any]]:
        """Returns the number of updates so far, and their mean loss and accuracy."""
        steps = np.arange(self._position, self._position + self._steps_per_call)
        indices = np.take(self._batches, steps, axis=0, mode="wrap")
        (batches,) = self._train.train_batches([indices], self._position, self._steps_per_call)
        self.state, progress = self._call(self.state, batches, self._teacher, np.int32(self._steps_per_call))
        self._position += self._steps_per_call
        jax.block_until_ready(self.state)
        return int(self.state.step), progress


class Mining(NamedTuple):
    """Mines embeddings f32[n,d] in each call, and waits for the result."""

    student: np.ndarray
    teacher: np.ndarray | rdx.RankedEmbeddings
    pool_size: int

    def __call__(self) -> rdx.ContrastTable:
        """Returns the mined table."""
        return jax.block_until_ready(rdx.mine(self.student, self.teacher, pool_size=self.pool_size))


def mine(num_examples: int, *, dim: int, pool_size: int, ranked: bool = False) -> Mining:
    """Prepares a mining of random embeddings f32[num_examples,dim]; `ranked` ranks the teacher's beforehand."""
    student, teacher = np.random.default_rng(0).normal(size=(2, num_examples, dim)).astype(np.float32)
    return Mining(student, rdx.rank_embeddings(teacher) if ranked else teacher, pool_size)


def train_step(
    method: str,
    *,
    preset: str,
    batch_size: int,
    steps_per_call: int = 1,
    cached: bool = False,
    dtype: str = "float32",
) -> TrainStep:
    """Prepares `steps_per_call` updates of a preset's student by configs/`method`.py.

    Images and the teacher's weights are random, because the speed does not depend on them. Data set and memory banks
    have their full size.

    Args:
        method: a file of configs/; "teacher" trains the preset's teacher from labels.
        preset: the data set and the networks.
        batch_size: over all devices.
        steps_per_call: updates in one call.
        cached: reads the teacher's outputs from memory, as `teacher.cache=views` does.
        dtype: of the networks' computation.
    """
    config = importlib.import_module(f"configs.{method}").get_config(preset)
    info = datasets.describe(config.dataset)
    labels = (np.arange(info.num_train) % info.num_classes).astype(np.int32)
    images = np.random.default_rng(0).integers(0, 256, (info.num_train, *info.image_shape), np.uint8)
    student, teacher = (
        models.from_linen(models.create(name, info.num_classes, axis_name=devices.AXIS, dtype=models.DTYPES[dtype]))
        for name in (config.student.name, config.teacher.name or config.student.name)
    )
    options = config.distill.to_dict()
    distiller = methods.from_options(options, labels)
    optimizer = make_optimizer(
        OptimizerOptions(),
        lambda step: config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    create = jax.jit(lambda seed: train_state.create(seed, info.image_shape, student, teacher, distiller, optimizer))
    train = pipeline.put(images, labels)
    teacher_fn = cached_teacher if cached else forward_teacher(teacher)
    step = make_train_step(student, teacher_fn, distiller, optimizer, _augment(config, info), axis_name=devices.AXIS)
    runs_teacher = not cached and methods.reads_teacher(options)
    cost = 3 * _multiply_adds(student, info.image_shape) + runs_teacher * _multiply_adds(teacher, info.image_shape)
    return TrainStep(
        devices.data_parallel(
            make_train_call(step, steps_per_call), in_axes=(None, train.in_axes, None, None), donated=(0,)
        ),
        devices.replicate(create(0)),
        train,
        devices.replicate(_teacher_input(teacher, info, cached)),
        epoch_batches(info.num_train, batch_size, seed=0, epoch=0),
        steps_per_call=steps_per_call,
        multiply_adds=cost * batch_size,
    )


def _augment(config: ml_collections.ConfigDict, info: datasets.DatasetInfo) -> augmentation.Augmentation:
    channels = info.image_shape[-1]
    normalize = partial(augmentation.normalize, mean=(0.5,) * channels, std=(0.25,) * channels)
    return augmentation.Augmentation(AugmentOptions(**config.augment), normalize)


def _teacher_input(teacher: models.Network, info: datasets.DatasetInfo, cached: bool) -> Any:
    """Returns random variables of the teacher, or zeros as its outputs for all training images."""
    if not cached:
        return jax.jit(lambda: models.init(teacher, jax.random.key(1), info.image_shape))()
    outputs = train_state.output_shapes(teacher, info.image_shape)
    shapes = [(info.num_train, x.shape[-1]) for x in (outputs.logits, outputs.embedding)]
    return TeacherOutputs(*(np.zeros(shape, np.float32) for shape in shapes))


def _multiply_adds(network: models.Network, image_shape: tuple[int, int, int]) -> int:
    return models.count_multiply_adds(network, models.variable_shapes(network, image_shape), image_shape)
