"""Embeddings of the images of a whole split by one network, on all devices."""

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from rdd_jax.core import devices
from rdd_jax.core.types import Array, ModelOutput, OnBatch
from rdd_jax.data.augmentation import Normalize
from rdd_jax.data.pipeline import Batches, PipelineDataset
from rdd_jax.models import Network


class Embed(Protocol):
    """The embedding of images by one network, in evaluation mode."""

    def __call__(
        self, variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /
    ) -> Array:
        """Returns the embeddings f32[n,d] of all images of a split, in order, replicated.

        Args:
            variables: of the network, replicated.
            dataset: the split.
            on_batch: is called after each batch.
        """


class ReadOutput(Protocol):
    """The part of a network's output that is kept."""

    def __call__(self, output: ModelOutput, /) -> Array:
        """Returns f32[b,...] of the output for b rows."""


def embedding_of(output: ModelOutput) -> Array:
    """Returns the embedding f32[b,d]."""
    return output.embedding


def logits_of(output: ModelOutput) -> Array:
    """Returns the logits f32[b,classes]."""
    return output.logits


def make_embed(network: Network, normalize: Normalize, read: ReadOutput = embedding_of) -> Embed:
    """Makes the function that embeds a split.

    Args:
        network: the network.
        normalize: uint8[b,h,w,c] -> f32[b,h,w,c].
        read: the part of the output that is returned.
    """

    def embed_batch(variables: dict[str, Any], batches: Batches) -> Array:
        output, _ = network.apply(variables, normalize(batches.batch(0).inputs), train=False)
        return jax.lax.all_gather(read(output), devices.AXIS, tiled=True)

    @functools.cache
    def compiled(in_axes: Any) -> Any:
        return devices.data_parallel(embed_batch, in_axes=(None, in_axes))

    def embed(variables: dict[str, Any], dataset: PipelineDataset, on_batch: OnBatch | None = None, /) -> Array:
        embed_all = compiled(dataset.in_axes)
        parts = [
            jax.block_until_ready(embed_all(variables, batches)) for batches in dataset.evaluation_batches(on_batch)
        ]
        return jnp.concatenate(parts)[: len(dataset)]

    return embed
