"""RDX triplet loss, after the release of Irakiza & Mugisha 2026."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rdd_jax import rdx
from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Distiller
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


class RdxTripletState(NamedTuple):
    """The student's own unit vectors f32[N,d], the mined table, and whether it has been mined, f32[] 0 or 1."""

    vectors: Array
    table: rdx.TripletTable
    mined: Array


def rdx_triplet(
    training_labels: np.ndarray,
    *,
    momentum: float = 0.5,
    gamma: float = 0.1,
    beta: float = 0.8,
    block_size: int = 512,
    candidates: int = 0,
) -> Distiller:
    """Pulls an embedding to its strongest teacher-unique neighbour and away from its student-unique one. Weight 0.8.

    Three departures from the release. The embeddings are scaled to unit length, where the release takes distances of
    raw features, on whose scale the slope of the softplus depends. Positives and negatives come from a memory of the
    student's embeddings, moved by momentum, where the release embeds both images anew every step, at three times the
    cost. The loss is 0 until the first refresh, where the release's is the softplus of the distance between two
    augmentations of the anchor, about log 2.

    Args:
        training_labels: i32[N], of the whole training set: its length sizes the memory.
        momentum: share of the old vector kept in the memory.
        gamma: sharpness of the rank difference.
        beta: sharpness of the affinities.
        block_size: rows mined at a time.
        candidates: how many images, drawn anew at each refresh, alone are ranked and selected; 0: all. At least 2.

    Raises:
        ValueError: for an impossible option.
    """
    check_mining("rdx_triplet", gamma=gamma, beta=beta, block_size=block_size)
    check_momentum("rdx_triplet", momentum)
    num_examples = len(check_labels("rdx_triplet", training_labels))
    check_candidates("rdx_triplet", candidates, least=2, num_examples=num_examples)

    def init(rng, student_shapes, teacher_shapes):
        itself = jnp.arange(num_examples, dtype=jnp.int32)
        vectors = jnp.zeros((num_examples, student_shapes.embedding.shape[-1]))
        table = rdx.TripletTable(itself, itself, jnp.ones((num_examples,)))
        return {}, RdxTripletState(vectors, table, jnp.zeros(()))

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        anchor = l2_normalize(student.embedding.astype(jnp.float32))
        positives, negatives, weights = (column[batch.indices] for column in state.table)
        value = contrastive.rdx_triplet(
            anchor, state.vectors[positives], state.vectors[negatives], weights, axis_name=axis_name
        )
        indices = all_gather(batch.indices, axis_name)
        vectors = momentum_update(state.vectors, indices, all_gather(anchor, axis_name), momentum)
        return state.mined * value, (state._replace(vectors=vectors), {})

    def refresh(state, student_embeddings, teacher_embeddings, rng, *, axis_name=None):
        check_embeddings("rdx_triplet", student_embeddings, teacher_embeddings, num_examples)
        table = rdx.mine_triplets(
            student_embeddings,
            teacher_embeddings,
            gamma=gamma,
            beta=beta,
            candidates=draw_candidates(rng, num_examples, candidates),
            block_size=block_size,
            axis_name=axis_name,
        )
        return RdxTripletState(l2_normalize(student_embeddings), table, jnp.ones(()))

    return Distiller(init, loss, refresh, histograms=lambda state: {"affinity": state.table.weights})
