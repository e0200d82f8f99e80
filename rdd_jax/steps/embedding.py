"""Embeddings of many images by one network, on all devices."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.core import devices
from rdd_jax.core.types import Array, ModelOutput, OnBatch
from rdd_jax.data import pipeline
from rdd_jax.data.streaming import Stream


class Embed(Protocol):
    """The embedding of images by one network."""

    def __call__(self, variables: dict[str, Any], images: Array | Stream, on_batch: OnBatch | None = None) -> Array:
        """Returns the embeddings f32[n,d] of images uint8[n,h,w,c]."""


def embedding_of(outputs: ModelOutput) -> Array:
    """f32[b,d]."""
    return outputs.embedding


def make_embed(
    model: nn.Module, normalize: Callable[[Array], Array], show: Callable[[ModelOutput], Array] = embedding_of
) -> Embed:
    """The embeddings of replicated or streamed images, or what else `show` makes of a network's outputs of them.

    In evaluation mode.
    """

    def embed_batch(feed, variables, images, indices):
        outputs = model.apply(variables, normalize(feed.rows(images, indices)), train=False)
        return jax.lax.all_gather(show(outputs), devices.AXIS, tiled=True)

    @functools.cache
    def gathered(feed):
        return devices.data_parallel(functools.partial(embed_batch, feed), in_axes=(None, feed.in_axis, 0))

    def embed(variables, images, on_batch=None):
        show_batch = gathered(type(pipeline.of(images)))
        parts = [
            jax.block_until_ready(show_batch(variables, shown, indices))
            for indices, shown in pipeline.evaluation_batches(images, on_batch)
        ]
        return jnp.concatenate(parts)[: len(images)]

    return embed
