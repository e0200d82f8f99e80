"""The exponential moving average of the student's weights over the updates."""

from typing import Any

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array, Batch
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import TrainStep


def update_average(average: dict[str, Any], variables: dict[str, Any], decay: float, step: Array) -> dict[str, Any]:
    """Returns the moving average after one more update: decay * average + (1 - decay) * variables.

    The decay of update t, from 0, is min(decay, (1 + t) / (10 + t)), so that the first weights, which are random, lose
    their part in short runs as well. It is that of TensorFlow's `tf.train.ExponentialMovingAverage(num_updates=t)`.

    Batch statistics are averaged by the same rule, as by timm's `ModelEmaV2` and by torch's `AveragedModel` with
    `use_buffers=True`. The latest statistics would belong to other weights than the averaged ones.

    Args:
        average: the average so far.
        variables: the variables after the update. All arrays of a float dtype are averaged; the rest, such as counters,
            is taken from here as it is.
        decay: in [0, 1).
        step: i32[], t.
    """
    rate = jnp.minimum(decay, (1 + step) / (10 + step))

    def mean(old: Array, new: Array) -> Array:
        return (rate * old + (1 - rate) * new).astype(new.dtype) if jnp.issubdtype(new.dtype, jnp.floating) else new

    return jax.tree.map(mean, average, variables)


def average_weights(train_step: TrainStep, decay: float) -> TrainStep:
    """Makes a step that also updates `TrainState.average`, by `update_average`."""

    def averaged(state: TrainState, batch: Batch, teacher: Any, /) -> TrainState:
        new = train_step(state, batch, teacher)
        assert state.average is not None
        return new._replace(average=update_average(state.average, new.student, decay, state.step))

    return averaged


def teach_by_average(train_step: TrainStep) -> TrainStep:
    """Makes a step whose teacher is `TrainState.average` (mean teacher, Tarvainen & Valpola 2017).

    The average is in evaluation mode and takes the same augmented images as the student.
    """

    def taught(state: TrainState, batch: Batch, teacher: Any, /) -> TrainState:
        return train_step(state, batch, state.average)

    return taught
