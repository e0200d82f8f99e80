"""The periodic look at the whole training set: embed it with both networks and let the distiller mine it."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax import feeds, parallel, rdx
from rdd_jax.data.stream import Stream
from rdd_jax.train_state import TrainState
from rdd_jax.types import Array, Distiller, OnBatch, Outputs

KINDS = ("once", "every", "adaptive")


class Embed(Protocol):
    """The embedding of images by one network."""

    def __call__(self, variables: dict[str, Any], images: Array | Stream, on_batch: OnBatch | None = None) -> Array:
        """Returns the embeddings f32[n,d] of images uint8[n,h,w,c]."""


def is_due(epoch: int, *, kind: str, start_epoch: int, epochs: int) -> bool:
    """Whether the table is mined before epoch `epoch` (from 0) in any case: at `start_epoch`, and "every" so many."""
    since = epoch - start_epoch
    return since == 0 or (kind == "every" and since > 0 and since % epochs == 0)


def embedding_of(outputs: Outputs) -> Array:
    """f32[b,d]."""
    return outputs[1].embedding


def make_embed(
    model: nn.Module, normalize: Callable[[Array], Array], show: Callable[[Outputs], Array] = embedding_of
) -> Embed:
    """The embeddings of replicated or streamed images, or what else `show` makes of a network's outputs of them.

    In evaluation mode.
    """

    def embed_batch(feed, variables, images, indices):
        outputs = model.apply(variables, normalize(feed.rows(images, indices)), train=False)
        return jax.lax.all_gather(show(outputs), parallel.AXIS, tiled=True)

    @functools.cache
    def gathered(feed):
        return parallel.data_parallel(functools.partial(embed_batch, feed), in_axes=(None, feed.in_axis, 0))

    def embed(variables, images, on_batch=None):
        show_batch = gathered(type(feeds.of(images)))
        parts = [
            jax.block_until_ready(show_batch(variables, shown, indices))
            for indices, shown in feeds.evaluation_batches(images, on_batch)
        ]
        return jnp.concatenate(parts)[: len(images)]

    return embed


def make_rank() -> Callable[[Array], rdx.Ranked]:
    """Embeddings f32[n,d] -> with what all neighbours rank in them, rows split over the devices."""
    return parallel.data_parallel(lambda rows: rdx.ranked(rows, axis_name=parallel.AXIS), in_axes=(None,))


def make_score() -> Callable[[Array, Array | rdx.Ranked], Array]:
    """-> (student embeddings f32[n,ds], teacher's f32[n,dt] or ranked) -> places from easy to hard, f32[n]."""

    def score(student_embeddings, teacher_embeddings):
        order = rdx.difficulty_order(student_embeddings, teacher_embeddings, axis_name=parallel.AXIS)
        return jnp.zeros(len(order)).at[order].set(jnp.arange(len(order), dtype=jnp.float32))

    return parallel.data_parallel(score, in_axes=(None, None))


def make_refresh(distiller: Distiller) -> Callable[[TrainState, Array, Array | rdx.Ranked], TrainState]:
    """-> (state, student embeddings f32[n,ds], teacher's f32[n,dt] or ranked) -> state, rows split over the devices."""

    def mine(state, seed, step, student_embeddings, teacher_embeddings):
        rng = jax.random.fold_in(jax.random.key(seed), step)
        return distiller.refresh(state, student_embeddings, teacher_embeddings, rng, axis_name=parallel.AXIS)

    mine = parallel.data_parallel(mine, in_axes=(None,) * 5)

    def refresh(state, student_embeddings, teacher_embeddings):
        mined = mine(state.distiller, state.seed, state.step, student_embeddings, teacher_embeddings)
        return state._replace(distiller=mined)

    return refresh
