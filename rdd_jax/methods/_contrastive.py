"""What the contrastive methods share: projections, the normaliser Z, the update of the bank, the anchors."""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import all_gather, mean_over_devices
from rdd_jax.core.types import Array, Batch
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import MemoryBank, momentum_update
from rdd_jax.methods._projections import Head, linear
from rdd_jax.rdx.ranking import RankedEmbeddings, embeddings_of

# exp(1 / temperature), summed over a bank and multiplied by its size, has to stay below float32's 3e38.
_LOWEST_TEMPERATURE = 0.02


def project(head: Head, embedding: Array) -> Array:
    """Embeddings [b,inputs] of any float dtype -> unit vectors f32[b,outputs]."""
    # Not rounded as accelerators round by default: the scores magnify it.
    return l2_normalize(linear(head, embedding, precision=jax.lax.Precision.HIGHEST))


def settle_normalizer(
    normalizer: Array, scores: Array, counts: Array, num_examples: int, axis_name: str | None
) -> Array:
    """Z f32[]: the one kept or, while that is 0, the first global batch's mean score times N (CRD's release).

    Args:
        normalizer: f32[], the one kept.
        scores: f32[b,k].
        counts: f32[b,k], how often each score counts in the mean.
        num_examples: N.
        axis_name: the mapped axis of the global batch.
    """
    # The sums are averaged and not the means: devices may have left out different numbers of negatives.
    total, count = mean_over_devices((jnp.sum(jax.lax.stop_gradient(scores) * counts), jnp.sum(counts)), axis_name)
    return jnp.where(normalizer > 0.0, normalizer, total / count * num_examples)


def update_bank(
    bank: MemoryBank, batch: Batch, student: Array, teacher: Array, momentum: float, axis_name: str | None
) -> MemoryBank:
    """Moves the rows of the global batch towards their new projections f32[b,dim], the same on every device."""
    indices = all_gather(batch.indices, axis_name)
    return MemoryBank(
        momentum_update(bank.student, indices, all_gather(student, axis_name), momentum),
        momentum_update(bank.teacher, indices, all_gather(teacher, axis_name), momentum),
    )


def check_options(name: str, *, dim: int, num_negatives: int, temperature: float, momentum: float) -> None:
    """Raises ValueError, in one line, where the options that the methods share are impossible."""
    if dim < 1 or num_negatives < 1:
        raise ValueError(f"{name}: dim and num_negatives must be at least 1; got {dim} and {num_negatives}")
    if not temperature >= _LOWEST_TEMPERATURE:
        raise ValueError(f"{name}: temperature must be at least {_LOWEST_TEMPERATURE}; got {temperature}")
    check_momentum(name, momentum)


def check_labels(name: str, training_labels: np.ndarray) -> np.ndarray:
    """Returns the labels as i32[N]; raises ValueError where they are not class numbers, one an example."""
    labels = np.asarray(training_labels)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name}: training_labels must be integers [N]; got {labels.dtype}{list(labels.shape)}")
    return labels.astype(np.int32)


def check_embeddings(name: str, student: Array, teacher: Array | RankedEmbeddings, num_examples: int) -> None:
    """Raises ValueError unless both hold one embedding for each of the `num_examples` of the training set."""
    teacher = embeddings_of(teacher)
    if len(student) != num_examples or len(teacher) != num_examples:
        raise ValueError(
            f"{name}: refresh needs an embedding of each of the {num_examples} training examples; got student "
            f"{student.shape} and teacher {teacher.shape}"
        )


def check_momentum(name: str, momentum: float) -> None:
    """Raises ValueError, in one line, where a memory cannot be moved by it."""
    if not 0 <= momentum < 1:
        raise ValueError(f"{name}: momentum must be in [0, 1); got {momentum}")


def check_mining(name: str, *, gamma: float, beta: float, block_size: int) -> None:
    """Raises ValueError, in one line, where the options of the methods that mine are impossible."""
    if not (gamma > 0 and beta > 0 and block_size >= 1):
        raise ValueError(f"{name}: gamma, beta and block_size must be above 0; got {gamma}, {beta}, {block_size}")


def check_candidates(name: str, candidates: int, *, least: int, num_examples: int) -> None:
    """Raises ValueError, in one line, where so many columns cannot be drawn or are too few to select from."""
    if candidates and not least <= candidates <= num_examples:
        raise ValueError(
            f"{name}: candidates must be in [{least}, {num_examples}], or 0 for all images; got {candidates}"
        )


def draw_candidates(rng: Array, num_examples: int, candidates: int) -> Array | None:
    """Distinct examples i32[candidates] in ascending order, or None, for all, where candidates is 0."""
    return jnp.sort(jax.random.choice(rng, num_examples, (candidates,), replace=False)) if candidates else None
