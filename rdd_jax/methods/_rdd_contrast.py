"""The positives and negatives of a batch in RDD, and the contrastive loss in one direction."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdd_jax import rdx
from rdd_jax.core.types import Array, Batch, Metrics
from rdd_jax.losses.contrastive import bank_scores, nce, products
from rdd_jax.methods._contrastive import partition_constant_or_init
from rdd_jax.methods._rdd_options import RddOptions


class Contrast(NamedTuple):
    """The rows of the bank that a batch is contrasted with.

    positive: i32[b].
    hard: i32[b,pool], the hard negatives.
    uniform: i32[u], the uniform negatives, shared by the batch.
    draw_counts: f32[b,pool+u], the number of draws that each negative stands for.
    """

    positive: Array
    hard: Array
    uniform: Array
    draw_counts: Array


def draw_contrast(options: RddOptions, table: rdx.ContrastTable, batch: Batch, rng: Array) -> Contrast:
    """Looks up a batch's positives and hard negatives, and draws the uniform negatives, which the batch shares.

    The anchor itself and its positive do not count as negatives.
    """
    positive = table.positives[batch.indices] if options.positives == "a01" else batch.indices
    hard = table.negatives[batch.indices]
    uniform = jax.random.randint(rng, (options.num_uniform,), 0, options.num_examples)
    negatives = jnp.concatenate([hard, jnp.broadcast_to(uniform, (len(hard), options.num_uniform))], axis=1)
    allowed = (negatives != batch.indices[:, None]) & (negatives != positive[:, None])
    if not options.same_class_negatives:
        allowed &= jnp.asarray(options.labels)[negatives] != batch.labels[:, None]
    return Contrast(positive, hard, uniform, allowed * options.draw_counts)


def direction_loss(
    queries: Array,
    bank: Array,
    partition: Array,
    *,
    contrast: Contrast,
    anchor_weights: Array | None,
    temperature: float,
    axis_name: str | None,
) -> tuple[Array, Array, Metrics]:
    """Computes one direction: the loss f32[] of queries f32[b,d] against a bank f32[N,d], Z f32[] and metrics."""
    num_examples, pool_size = len(bank), contrast.hard.shape[1]
    positive, negatives = _scores(queries, bank, contrast, temperature)
    scores = jnp.concatenate([positive[:, None], negatives], axis=1)
    draw_counts = jnp.pad(contrast.draw_counts, ((0, 0), (1, 0)), constant_values=1.0)
    partition = partition_constant_or_init(partition, scores, draw_counts, num_examples, axis_name)
    value = nce(
        positive / partition,
        negatives / partition,
        num_examples=num_examples,
        # Without the draws that are not allowed; at least 1, because q must not be 0.
        num_negatives=jnp.maximum(jnp.sum(contrast.draw_counts, axis=1), 1.0),
        draw_counts=contrast.draw_counts,
        anchor_weights=anchor_weights,
        axis_name=axis_name,
    )
    # The cosines follow from the scores, which saves further products with the bank.
    metrics = {
        "positive_similarity": temperature * jnp.mean(jnp.log(positive)),
        "hard_negative_similarity": temperature * jnp.mean(jnp.log(negatives[:, :pool_size])),
    }
    return value, partition, metrics


def _scores(queries: Array, bank: Array, contrast: Contrast, temperature: float) -> tuple[Array, Array]:
    """Computes exp(q . v / temperature) of queries f32[b,d]: positives f32[b] and negatives f32[b,pool+u]."""
    gathered = jnp.concatenate([contrast.positive[:, None], contrast.hard], axis=1)
    mined = bank_scores(queries, bank, gathered, temperature)
    uniform = jnp.exp(products(queries, bank[contrast.uniform]) / temperature)
    return mined[:, 0], jnp.concatenate([mined[:, 1:], uniform], axis=1)
