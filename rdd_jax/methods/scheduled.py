"""Methods whose weight changes during training."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, Refresh, State
from rdd_jax.rdx.ranking import RankedEmbeddings

Schedule = Callable[[Array], Array]
WARMUPS = ("linear", "cosine")


class ScheduledState(NamedTuple):
    """The state of a scheduled method.

    step: i32[], the number of batches so far.
    inner: the state of the method itself.
    """

    step: Array
    inner: State


def scheduled(distiller: Distiller, schedule: Schedule) -> Distiller:
    """Makes the Distiller whose loss is that of another, times a weight that depends on the step.

    The metrics have the weight as "weight".

    Args:
        distiller: the method.
        schedule: returns the weight f32[] of a step i32[], the number of batches before this one.
    """
    return distiller._replace(
        init=partial(_init, distiller),
        loss=partial(_loss, distiller, schedule),
        refresh=partial(_refresh, distiller.refresh) if distiller.refresh else None,
        histograms=lambda state: distiller.histograms(state.inner),
    )


def warmup(epochs: int, epoch_starts: Sequence[int], shape: str = "linear") -> Schedule:
    """Makes the schedule that grows to 1 over the first epochs, and has the same value in all steps of an epoch.

    Args:
        epochs: n; the weight is that of the share e / n in the e-th epoch, counted from 1, and 1 from the n-th on.
        epoch_starts: the first step of each epoch, ascending from 0.
        shape: "linear", the share itself, or "cosine", (1 - cos(pi * share)) / 2.

    Raises:
        ValueError: for an unknown shape, or fewer than 1 epoch.
    """
    if shape not in WARMUPS:
        raise ValueError(unknown_name_message("warmup_shape", shape, WARMUPS))
    if epochs < 1:
        raise ValueError(f"warmup_epochs must be at least 1; got {epochs}")
    starts = np.array(epoch_starts)

    def weight(step: Array) -> Array:
        share = jnp.minimum(jnp.searchsorted(starts, step, side="right") / epochs, 1.0)
        return share if shape == "linear" else (1 - jnp.cos(math.pi * share)) / 2

    return weight


def _init(
    distiller: Distiller, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[Params, ScheduledState]:
    params, state = distiller.init(rng, student_shapes, teacher_shapes)
    return params, ScheduledState(jnp.zeros((), jnp.int32), state)


def _loss(
    distiller: Distiller,
    schedule: Schedule,
    params: Params,
    state: ScheduledState,
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[ScheduledState, Metrics]]:
    weight = schedule(state.step)
    loss, (inner, metrics) = distiller.loss(params, state.inner, student, teacher, batch, rng=rng, axis_name=axis_name)
    return weight * loss, (ScheduledState(state.step + 1, inner), metrics | {"weight": weight})


def _refresh(
    refresh: Refresh,
    state: ScheduledState,
    student_embeddings: Array,
    teacher_embeddings: Array | RankedEmbeddings,
    rng: Array,
    *,
    axis_name: str | None = None,
) -> ScheduledState:
    inner = refresh(state.inner, student_embeddings, teacher_embeddings, rng, axis_name=axis_name)
    return state._replace(inner=inner)
