"""Shared parts of the contrastive and mining methods: projections, partition constant, bank update, option checks."""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import all_gather, mean_over_devices
from rdd_jax.core.types import Array, Batch
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import MemoryBank, momentum_update
from rdd_jax.methods._linear import LinearParams, apply_linear
from rdd_jax.rdx.ranking import RankedEmbeddings, embeddings_of

# The sum of exp(1 / temperature) over a bank, times the bank's size, must not exceed float32's 3e38.
_MIN_TEMPERATURE = 0.02


def project(params: LinearParams, embedding: Array) -> Array:
    """Projects embeddings [b,inputs] of any float dtype to unit vectors f32[b,outputs]."""
    # In full precision, because exp(q . v / temperature) magnifies the rounding of accelerators' default.
    return l2_normalize(apply_linear(params, embedding, precision=jax.lax.Precision.HIGHEST))


def partition_constant_or_init(
    partition: Array, scores: Array, draw_counts: Array, num_examples: int, axis_name: str | None
) -> Array:
    """Returns the partition constant Z f32[], or estimates it by the first global batch: mean score times N (CRD).

    Args:
        partition: f32[], the present Z, which is returned unless it is 0.
        scores: f32[b,k].
        draw_counts: f32[b,k], the number of draws that each score stands for, its weight in the mean.
        num_examples: N.
        axis_name: the mapped axis of the global batch.
    """
    # Sums are averaged and not means, because devices may have left out different numbers of negatives.
    sums = jnp.sum(jax.lax.stop_gradient(scores) * draw_counts), jnp.sum(draw_counts)
    total, count = mean_over_devices(sums, axis_name)
    return jnp.where(partition > 0.0, partition, total / count * num_examples)


def update_bank(
    bank: MemoryBank, batch: Batch, student: Array, teacher: Array, momentum: float, axis_name: str | None
) -> MemoryBank:
    """Moves the global batch's rows towards their new projections f32[b,dim]. The result is equal on all devices."""
    indices = all_gather(batch.indices, axis_name)
    return MemoryBank(
        momentum_update(bank.student, indices, all_gather(student, axis_name), momentum),
        momentum_update(bank.teacher, indices, all_gather(teacher, axis_name), momentum),
    )


def draw_candidates(rng: Array, num_examples: int, candidates: int) -> Array | None:
    """Draws distinct examples i32[candidates] in ascending order, or returns None, for all, if `candidates` is 0."""
    return jnp.sort(jax.random.choice(rng, num_examples, (candidates,), replace=False)) if candidates else None


def check_options(name: str, *, dim: int, num_negatives: int, temperature: float, momentum: float) -> None:
    """Raises ValueError for impossible values of the options of contrastive methods."""
    if dim < 1 or num_negatives < 1:
        raise ValueError(f"{name}: dim and num_negatives must be at least 1; got {dim} and {num_negatives}")
    if not temperature >= _MIN_TEMPERATURE:
        raise ValueError(f"{name}: temperature must be at least {_MIN_TEMPERATURE}; got {temperature}")
    check_momentum(name, momentum)


def check_momentum(name: str, momentum: float) -> None:
    """Raises ValueError unless `momentum` is in [0, 1)."""
    if not 0 <= momentum < 1:
        raise ValueError(f"{name}: momentum must be in [0, 1); got {momentum}")


def check_mining(name: str, *, gamma: float, beta: float, block_size: int) -> None:
    """Raises ValueError for impossible values of the options of methods that mine."""
    if not (gamma > 0 and beta > 0 and block_size >= 1):
        raise ValueError(f"{name}: gamma, beta and block_size must be above 0; got {gamma}, {beta}, {block_size}")


def check_candidates(name: str, candidates: int, *, minimum: int, num_examples: int) -> None:
    """Raises ValueError unless `candidates` is 0 or a number of examples, at least `minimum`, that can be drawn."""
    if candidates and not minimum <= candidates <= num_examples:
        raise ValueError(
            f"{name}: candidates must be in [{minimum}, {num_examples}], or 0 for all images; got {candidates}"
        )


def check_labels(name: str, training_labels: np.ndarray, *, needed: bool = False) -> np.ndarray:
    """Returns the labels as i32[N].

    Args:
        name: of the method, for the message.
        training_labels: integers [N], -1 for examples without a label.
        needed: whether every example must have a label.

    Raises:
        ValueError: for labels of another shape or type, or a missing one that is needed.
    """
    labels = np.asarray(training_labels)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name}: training_labels must be integers [N]; got {labels.dtype}{list(labels.shape)}")
    if needed and labels.min() < 0:
        raise ValueError(
            f"{name}: every example needs a label, and {np.sum(labels < 0)} of the {len(labels)} are below 0"
        )
    return labels.astype(np.int32)


def check_embeddings(name: str, student: Array, teacher: Array | RankedEmbeddings, num_examples: int) -> None:
    """Raises ValueError unless both models have one embedding for each training example."""
    teacher = embeddings_of(teacher)
    if len(student) != num_examples or len(teacher) != num_examples:
        raise ValueError(
            f"{name}: refresh needs an embedding of each of the {num_examples} training examples; got student "
            f"{student.shape} and teacher {teacher.shape}"
        )
