"""Contrastive losses: scores against a bank, noise-contrastive estimation, relational contrast, triplets.

Computed in float32 whatever the inputs' dtype; NaN for an empty batch, and where an input is not a number.
"""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

_EPSILON = 1e-7
# exp(q . v / 0.07) magnifies the rounding of q . v fourteenfold, and accelerators round products to 8 or 11 bits.
_PRECISION = jax.lax.Precision.HIGHEST


def bank_scores(queries: Array, bank: Array, indices: Array, temperature: float) -> Array:
    """exp(q . v / temperature) of each query and its own rows of the bank (Tian et al. 2020, eq. 19).

    Gathers b*(1+k) rows: for thousands of rows a query, count them in `all_scores` instead.

    Args:
        queries: f32[b,d], unit vectors.
        bank: f32[N,d], unit vectors; no gradient flows through them.
        indices: i32[b,1+k], rows of the bank, by convention the positive first.
        temperature: > 0.

    Returns:
        f32[b,1+k].

    Raises:
        ValueError: where the shapes do not fit.
    """
    fits = queries.ndim == bank.ndim == indices.ndim == 2
    if not fits or queries.shape[1] != bank.shape[1] or queries.shape[0] != indices.shape[0]:
        raise ValueError(
            "bank_scores needs queries [b,d], bank [N,d], indices [b,k]; "
            f"got {queries.shape}, {bank.shape}, {indices.shape}"
        )
    rows = jax.lax.stop_gradient(bank)[indices]
    similarities = jnp.einsum("bd,bkd->bk", queries.astype(jnp.float32), rows, precision=_PRECISION)
    return jnp.exp(similarities / temperature)


def all_scores(queries: Array, bank: Array, temperature: float) -> Array:
    """exp(q . v / temperature) of every query f32[b,d] and every row of the bank f32[N,d], f32[b,N]."""
    return jnp.exp(products(queries, bank) / temperature)


def products(queries: Array, bank: Array) -> Array:
    """q . v of every query f32[b,d] and every row of the bank f32[N,d], f32[b,N]; no gradient flows to the bank.

    Raises:
        ValueError: where the shapes do not fit.
    """
    if not queries.ndim == bank.ndim == 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"needs queries [b,d] and a bank [N,d]; got {queries.shape} and {bank.shape}")
    return jnp.matmul(queries.astype(jnp.float32), jax.lax.stop_gradient(bank).T, precision=_PRECISION)


def nce(
    positive: Array,
    negatives: Array,
    *,
    num_examples: int,
    num_negatives: float | Array | None = None,
    negative_weights: Array | None = None,
    anchor_weights: Array | None = None,
    axis_name: str | None = None,
) -> Array:
    """Noise-contrastive estimation with uniform noise (Tian et al. 2020, eq. 11-12; anchor weights: RDD).

    With q = num_negatives / num_examples, an anchor's loss is
    -(log(p+ / (p+ + q + eps)) + sum_j w_j log(q / (p_j + q + eps))).

    Args:
        positive: f32[b], normalised scores p+ = score / Z.
        negatives: f32[b,k], normalised scores.
        num_examples: N, the size of the set that the noise is uniform over.
        num_negatives: m, a number or f32[b]; k unless given, as when one row stands for several draws.
        negative_weights: w_j, f32[k] or f32[b,k]; 1 unless given.
        anchor_weights: f32[b]; each anchor's loss is scaled by its weight over the mean weight; equal unless given.
        axis_name: the mapped axis over which the mean weight is taken.

    Returns:
        f32[], mean over the anchors.

    Raises:
        ValueError: where the shapes do not fit.
    """
    if negatives.ndim != 2 or positive.shape != negatives.shape[:1]:
        raise ValueError(f"nce needs positive [b] and negatives [b,k]; got {positive.shape} and {negatives.shape}")
    if negative_weights is not None and negative_weights.shape not in (negatives.shape, negatives.shape[1:]):
        raise ValueError(f"nce needs negative_weights [k] or [b,k]; got {negative_weights.shape} for {negatives.shape}")
    if anchor_weights is not None and anchor_weights.shape != positive.shape:
        raise ValueError(f"nce needs anchor_weights [b]; got {anchor_weights.shape} for {positive.shape}")
    count = jnp.asarray(negatives.shape[1] if num_negatives is None else num_negatives, jnp.float32)
    if count.shape not in ((), positive.shape):
        raise ValueError(f"nce needs num_negatives [] or [b]; got {count.shape} for {positive.shape}")
    positive, negatives = positive.astype(jnp.float32), negatives.astype(jnp.float32)
    noise = count / num_examples
    log_positive = jnp.log(positive / (positive + noise + _EPSILON))
    noise = noise[..., None]
    log_negatives = jnp.log(noise / (negatives + noise + _EPSILON))
    if negative_weights is not None:
        log_negatives = log_negatives * negative_weights
    losses = -(log_positive + jnp.sum(log_negatives, axis=1))
    return jnp.mean(losses if anchor_weights is None else losses * _over_mean(anchor_weights, axis_name))


def relational_contrast(
    student_similarities: Array, teacher_similarities: Array, student_temperature: float, teacher_temperature: float
) -> Array:
    """Cross-entropy between the softened similarities to the same q examples (RRD, Giakoumoglou & Stathaki 2024).

    Args:
        student_similarities: f32[b,q], cosines of the student's embeddings with the queue.
        teacher_similarities: f32[b,q], cosines of the teacher's; no gradient flows through them.
        student_temperature: > 0.
        teacher_temperature: > 0; a sharper teacher than student.

    Returns:
        f32[], mean over the batch; least where the softened similarities are equal.

    Raises:
        ValueError: where the shapes differ.
    """
    if student_similarities.shape != teacher_similarities.shape:
        raise ValueError(
            f"relational_contrast needs equal shapes; got {student_similarities.shape}, {teacher_similarities.shape}"
        )
    student, teacher = (x.astype(jnp.float32) for x in (student_similarities, teacher_similarities))
    target = jax.nn.softmax(jax.lax.stop_gradient(teacher) / teacher_temperature)
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(student / student_temperature), axis=-1))


def rdx_triplet(
    anchor: Array, positive: Array, negative: Array, weights: Array, *, axis_name: str | None = None
) -> Array:
    """Softplus of how much farther the positive is than the negative, anchors weighted by affinity (RDD's release).

    Args:
        anchor: f32[b,d].
        positive: f32[b,d], embeddings of the teacher-unique neighbours.
        negative: f32[b,d], embeddings of the student-unique neighbours.
        weights: f32[b]; each anchor's loss is scaled by its weight over the mean weight.
        axis_name: the mapped axis over which the mean weight is taken.

    Returns:
        f32[], mean over the anchors.

    Raises:
        ValueError: where the shapes do not fit.
    """
    if not anchor.shape == positive.shape == negative.shape or weights.shape != anchor.shape[:1]:
        raise ValueError(
            "rdx_triplet needs three arrays [b,d] and weights [b]; "
            f"got {anchor.shape}, {positive.shape}, {negative.shape}, {weights.shape}"
        )
    anchor, positive, negative = (x.astype(jnp.float32) for x in (anchor, positive, negative))
    losses = jax.nn.softplus(_distance(anchor, positive) - _distance(anchor, negative))
    return jnp.mean(losses * _over_mean(weights, axis_name))


def _over_mean(weights: Array, axis_name: str | None) -> Array:
    mean = jnp.mean(weights)
    return weights / (mean if axis_name is None else jax.lax.pmean(mean, axis_name))


def _distance(a: Array, b: Array) -> Array:
    # The epsilon keeps the slope finite where two rows are equal.
    return jnp.sqrt(jnp.sum(jnp.square(a - b), axis=-1) + 1e-12)
