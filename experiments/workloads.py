"""What the benchmark times, in JAX: each function prepares a workload and returns one that does it once and waits."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from rdd_jax import methods, models, parallel, rdx, train_state
from rdd_jax.data import augment, datasets
from rdd_jax.data.sampling import epoch_batches
from rdd_jax.optimizers import sgd
from rdd_jax.train_step import make_train_call, make_train_step

Workload = Callable[[], Any]  # What it returns is for tests.


def train_step(method: str, *, preset: str, batch_size: int, steps_per_call: int = 1) -> Workload:
    """`steps_per_call` updates of the preset's student by a method's own configuration; pixels and teacher are random.

    The speed does not depend on what the pixels and the weights are; data set, banks and table have their full size.
    """
    config = importlib.import_module(f"configs.{method}").get_config(preset)
    info = datasets.describe(config.dataset)
    labels = (np.arange(info.num_train) % info.num_classes).astype(np.int32)
    images = np.random.default_rng(0).integers(0, 256, (info.num_train, *info.image_shape), np.uint8)
    student, teacher = (
        models.create(network.name, info.num_classes, axis_name=parallel.AXIS)
        for network in (config.student, config.teacher)
    )
    distiller = methods.from_options(config.distill.to_dict(), labels)
    optimizer = sgd(lambda step: config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    channels = info.image_shape[-1]

    def preprocess(images, keys):
        views = augment.crop_and_flip(images, keys, pad=config.augment.pad, flip=config.augment.flip)
        return augment.normalize(views, mean=(0.5,) * channels, std=(0.25,) * channels)

    step = make_train_step(student, teacher, distiller, optimizer, preprocess, axis_name=parallel.AXIS)
    call = parallel.data_parallel(
        make_train_call(step, steps_per_call), in_axes=(None, None, None, None, 0, None), donated=(0,)
    )
    create = partial(train_state.create, image_shape=info.image_shape, student=student, teacher=teacher)
    state = parallel.replicate(jax.jit(lambda: create(0, distiller=distiller, optimizer=optimizer))())
    variables = jax.jit(lambda: models.init(teacher, jax.random.key(1), info.image_shape))()
    constants = parallel.replicate((variables, images, labels))
    batches = epoch_batches(info.num_train, batch_size, seed=0, epoch=0)
    position = 0

    def work():
        nonlocal state, position
        rows = np.take(batches, np.arange(position, position + steps_per_call), axis=0, mode="wrap")
        state, progress = call(state, *constants, parallel.split_rows(rows), np.int32(steps_per_call))
        position += steps_per_call
        jax.block_until_ready(state)
        return int(state.step), progress

    return work


def mine(num_examples: int, *, dim: int, pool_size: int) -> Workload:
    """One mining of the contrast table from random embeddings f32[num_examples,dim]."""
    embeddings = np.random.default_rng(0).normal(size=(2, num_examples, dim)).astype(np.float32)
    return lambda: jax.block_until_ready(rdx.mine(*embeddings, pool_size=pool_size))
