"""Mining, ranking and scoring of embeddings, split over the devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rdd_jax import rdx
from rdd_jax.core import devices
from rdd_jax.core.types import Array, Distiller
from rdd_jax.steps.train_state import TrainState


def make_rank() -> Callable[[Array], rdx.Ranked]:
    """Embeddings f32[n,d] -> with what all neighbours rank in them, rows split over the devices."""
    return devices.data_parallel(lambda rows: rdx.ranked(rows, axis_name=devices.AXIS), in_axes=(None,))


def make_score() -> Callable[[Array, Array | rdx.Ranked], Array]:
    """-> (student embeddings f32[n,ds], teacher's f32[n,dt] or ranked) -> places from easy to hard, f32[n]."""

    def score(student_embeddings, teacher_embeddings):
        order = rdx.difficulty_order(student_embeddings, teacher_embeddings, axis_name=devices.AXIS)
        return jnp.zeros(len(order)).at[order].set(jnp.arange(len(order), dtype=jnp.float32))

    return devices.data_parallel(score, in_axes=(None, None))


def make_refresh(distiller: Distiller) -> Callable[[TrainState, Array, Array | rdx.Ranked], TrainState]:
    """-> (state, student embeddings f32[n,ds], teacher's f32[n,dt] or ranked) -> state, rows split over the devices."""

    def mine(state, seed, step, student_embeddings, teacher_embeddings):
        rng = jax.random.fold_in(jax.random.key(seed), step)
        return distiller.refresh(state, student_embeddings, teacher_embeddings, rng, axis_name=devices.AXIS)

    mine = devices.data_parallel(mine, in_axes=(None,) * 5)

    def refresh(state, student_embeddings, teacher_embeddings):
        mined = mine(state.distiller, state.seed, state.step, student_embeddings, teacher_embeddings)
        return state._replace(distiller=mined)

    return refresh
