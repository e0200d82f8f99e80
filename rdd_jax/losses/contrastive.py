"""Contrastive losses: scores against a memory bank, noise-contrastive estimation, relational contrast, triplets."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

_EPSILON = 1e-7
# exp(q . v / 0.07) magnifies the rounding error of q . v by 14, and by default accelerators round to 8 or 11 bits.
_PRECISION = jax.lax.Precision.HIGHEST


def bank_scores(queries: Array, bank: Array, indices: Array, temperature: float) -> Array:
    """Computes exp(q . v / temperature) of each query with its own rows of the bank (Tian et al. 2020, eq. 19).

    It gathers b*(1+k) rows. For thousands of rows per query, `all_scores` with weights is faster.

    Args:
        queries: f32[b,d], unit vectors.
        bank: f32[N,d], unit vectors; no gradient flows to them.
        indices: i32[b,1+k], rows of the bank; by convention the positive is first.
        temperature: > 0.

    Returns:
        f32[b,1+k].

    Raises:
        ValueError: if the shapes do not match.
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
    """Computes exp(q . v / temperature) of each query f32[b,d] with each row of the bank f32[N,d]: f32[b,N]."""
    return jnp.exp(products(queries, bank) / temperature)


def products(queries: Array, bank: Array) -> Array:
    """Computes q . v of each query f32[b,d] with each row of the bank f32[N,d]: f32[b,N].

    No gradient flows to the bank.

    Raises:
        ValueError: if the shapes do not match.
    """
    if not queries.ndim == bank.ndim == 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"products needs queries [b,d] and a bank [N,d]; got {queries.shape} and {bank.shape}")
    return jnp.matmul(queries.astype(jnp.float32), jax.lax.stop_gradient(bank).T, precision=_PRECISION)


def nce(
    positive: Array,
    negatives: Array,
    *,
    num_examples: int,
    num_negatives: float | Array | None = None,
    draw_counts: Array | None = None,
    anchor_weights: Array | None = None,
    axis_name: str | None = None,
) -> Array:
    """Computes the loss of noise-contrastive estimation with uniform noise (Tian et al. 2020, eq. 11-12).

    With q = num_negatives / num_examples and eps = 1e-7, the loss of an anchor is
    -(log(p+ / (p+ + q + eps)) + sum_j c_j log(q / (p_j + q + eps))).

    Args:
        positive: f32[b], p+ = score / Z with the partition constant Z.
        negatives: f32[b,k], p_j = score / Z.
        num_examples: N, the number of examples among which the noise is uniform.
        num_negatives: m, a number or f32[b]; by default k. It differs from k if a negative stands for several draws.
        draw_counts: c_j, f32[k] or f32[b,k], the number of draws that a negative stands for; by default 1.
        anchor_weights: f32[b]; the loss of an anchor is multiplied by its weight over the mean weight (RDD).
        axis_name: the mapped axis over which the mean weight is taken.

    Returns:
        f32[], the mean over anchors.

    Raises:
        ValueError: if the shapes do not match.
    """
    if negatives.ndim != 2 or positive.shape != negatives.shape[:1]:
        raise ValueError(f"nce needs positive [b] and negatives [b,k]; got {positive.shape} and {negatives.shape}")
    if draw_counts is not None and draw_counts.shape not in (negatives.shape, negatives.shape[1:]):
        raise ValueError(f"nce needs draw_counts [k] or [b,k]; got {draw_counts.shape} for {negatives.shape}")
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
    if draw_counts is not None:
        log_negatives = log_negatives * draw_counts
    losses = -(log_positive + jnp.sum(log_negatives, axis=1))
    return jnp.mean(losses if anchor_weights is None else losses * _over_mean(anchor_weights, axis_name))


def relational_contrast(
    student_similarities: Array, teacher_similarities: Array, student_temperature: float, teacher_temperature: float
) -> Array:
    """Computes the cross-entropy between softened similarities to the same q vectors (Giakoumoglou & Stathaki 2024).

    Args:
        student_similarities: f32[b,q], cosines of the student's embeddings with the vectors.
        teacher_similarities: f32[b,q], cosines of the teacher's embeddings; no gradient flows to them.
        student_temperature: by which the student's cosines are divided, > 0.
        teacher_temperature: by which the teacher's cosines are divided, > 0.

    Returns:
        f32[], the mean over rows; minimal where the softened similarities are equal.

    Raises:
        ValueError: if the shapes differ.
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
    """Computes softplus(|anchor - positive| - |anchor - negative|), weighted by anchor (Irakiza & Mugisha's release).

    Args:
        anchor: f32[b,d].
        positive: f32[b,d], embeddings of the teacher-unique neighbours.
        negative: f32[b,d], embeddings of the student-unique neighbours.
        weights: f32[b]; the loss of an anchor is multiplied by its weight over the mean weight.
        axis_name: the mapped axis over which the mean weight is taken.

    Returns:
        f32[], the mean over anchors.

    Raises:
        ValueError: if the shapes do not match.
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
    """Divides weights f32[b] by their mean over the global batch."""
    mean = jnp.mean(weights)
    return weights / (mean if axis_name is None else jax.lax.pmean(mean, axis_name))


def _distance(a: Array, b: Array) -> Array:
    """Computes the Euclidean distances f32[b] of rows f32[b,d]."""
    # The epsilon keeps the slope finite where two rows are equal.
    return jnp.sqrt(jnp.sum(jnp.square(a - b), axis=-1) + 1e-12)
