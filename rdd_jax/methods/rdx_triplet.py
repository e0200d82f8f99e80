"""RDX triplet loss, after the release of Irakiza & Mugisha 2026."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rdd_jax import rdx
from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params
from rdd_jax.losses import contrastive
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import momentum_update
from rdd_jax.methods._contrastive import (
    check_candidates,
    check_embeddings,
    check_labels,
    check_mining,
    check_momentum,
    draw_candidates,
)
from rdd_jax.methods.registry import register


class RdxTripletState(NamedTuple):
    """The state of the triplet loss.

    vectors: f32[N,d], a memory of the student's embeddings, of unit length.
    table: the mined triplets.
    mined: f32[], 1 after the first mining, before it 0.
    """

    vectors: Array
    table: rdx.TripletTable
    mined: Array


class _MiningOptions(NamedTuple):
    """The checked options of mining; see `rdx_triplet`."""

    num_examples: int
    gamma: float
    beta: float
    block_size: int
    candidates: int


@register
def rdx_triplet(
    training_labels: np.ndarray,
    *,
    momentum: float = 0.5,
    gamma: float = 0.1,
    beta: float = 0.8,
    block_size: int = 512,
    candidates: int = 0,
) -> Distiller:
    """Pulls embeddings to their strongest teacher-unique neighbour and away from the student-unique one.

    It differs from the release in three ways. Embeddings are scaled to unit length; the release takes distances of raw
    features, whose scale affects the slope of the softplus. Positives and negatives come from a memory of the student's
    embeddings; the release embeds both images in every step, at three times the cost. The loss is 0 until the first
    mining; in the release it is the softplus of the distance between two augmentations of the anchor, about log 2.

    Args:
        training_labels: i32[N], the labels of the whole training set, -1 for examples without one; only their number
            is used.
        momentum: the share of the old vector in an update of the memory.
        gamma: the sharpness of the rank difference.
        beta: the sharpness of the affinities.
        block_size: the number of rows mined at a time.
        candidates: the number of images, drawn for each mining, among which neighbours are mined; at least 2, or 0 for
            all images.

    Metrics:
        None.

    Raises:
        ValueError: for an impossible option.
    """
    check_mining("rdx_triplet", gamma=gamma, beta=beta, block_size=block_size)
    check_momentum("rdx_triplet", momentum)
    num_examples = len(check_labels("rdx_triplet", training_labels))
    check_candidates("rdx_triplet", candidates, minimum=2, num_examples=num_examples)

    mining = _MiningOptions(num_examples, gamma, beta, block_size, candidates)
    return Distiller(
        init=partial(_init, num_examples),
        loss=partial(_loss, momentum),
        refresh=partial(_refresh, mining),
        histograms=lambda state: {"affinity": state.table.weights},
    )


def _init(
    num_examples: int, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[Params, RdxTripletState]:
    indices = jnp.arange(num_examples, dtype=jnp.int32)
    vectors = jnp.zeros((num_examples, student_shapes.embedding.shape[-1]))
    table = rdx.TripletTable(indices, indices, jnp.ones((num_examples,)))
    return {}, RdxTripletState(vectors, table, jnp.zeros(()))


def _loss(
    momentum: float,
    params: Params,
    state: RdxTripletState,
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[RdxTripletState, Metrics]]:
    anchor = l2_normalize(student.embedding.astype(jnp.float32))
    positives, negatives, weights = (column[batch.indices] for column in state.table)
    value = contrastive.rdx_triplet(
        anchor, state.vectors[positives], state.vectors[negatives], weights, axis_name=axis_name
    )
    indices = all_gather(batch.indices, axis_name)
    vectors = momentum_update(state.vectors, indices, all_gather(anchor, axis_name), momentum)
    return state.mined * value, (state._replace(vectors=vectors), {})


def _refresh(
    options: _MiningOptions,
    state: RdxTripletState,
    student_embeddings: Array,
    teacher_embeddings: Array | rdx.RankedEmbeddings,
    rng: Array,
    *,
    axis_name: str | None = None,
) -> RdxTripletState:
    check_embeddings("rdx_triplet", student_embeddings, teacher_embeddings, options.num_examples)
    table = rdx.mine_triplets(
        student_embeddings,
        teacher_embeddings,
        gamma=options.gamma,
        beta=options.beta,
        candidates=draw_candidates(rng, options.num_examples, options.candidates),
        block_size=options.block_size,
        axis_name=axis_name,
    )
    return RdxTripletState(l2_normalize(student_embeddings), table, jnp.ones(()))
