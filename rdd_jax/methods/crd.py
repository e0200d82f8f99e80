"""Contrastive Representation Distillation (Tian et al. 2020)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import keys_for_local_rows
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params
from rdd_jax.losses.contrastive import all_scores, nce
from rdd_jax.memory import MemoryBank, init_bank
from rdd_jax.methods._contrastive import check_labels, check_options, partition_constant_or_init, project, update_bank
from rdd_jax.methods._linear import init_linear
from rdd_jax.methods.registry import register


class CrdState(NamedTuple):
    """The memory bank, and the partition constants Z f32[] of both directions, 0 until the first batch."""

    bank: MemoryBank
    student_partition: Array
    teacher_partition: Array


class _Options(NamedTuple):
    """The checked options of `crd`, and N."""

    num_examples: int
    dim: int
    num_negatives: int
    temperature: float
    momentum: float


@register
def crd(
    training_labels: np.ndarray,
    *,
    dim: int = 128,
    num_negatives: int = 16384,
    temperature: float = 0.07,
    momentum: float = 0.5,
) -> Distiller:
    """Contrasts each image with its vector in the other network's bank and with images of other classes.

    Negatives are drawn with replacement. RepDistiller draws without replacement if the other classes have at least K
    images, as in CIFAR-100: the same expected loss, with slightly less variance.

    Args:
        training_labels: i32[N], the labels of the whole training set.
        dim: d of the projected unit vectors.
        num_negatives: K, the number of negatives of each anchor.
        temperature: T of exp(q . v / T).
        momentum: the share of the old vector in an update of the bank.

    Metrics:
        agreement: the mean cosine of an image's projections by student and teacher.

    Raises:
        ValueError: for an impossible option, or if all labels are equal or one is negative.
    """
    check_options("crd", dim=dim, num_negatives=num_negatives, temperature=temperature, momentum=momentum)
    labels = check_labels("crd", training_labels, needed=True)
    options = _Options(len(labels), dim, num_negatives, temperature, momentum)
    draw_negatives = _other_class_sampler(labels, num_negatives)
    return Distiller(init=partial(_init, options), loss=partial(_loss, options, draw_negatives), needs_labels=True)


def _init(
    options: _Options, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[Params, CrdState]:
    student_rng, teacher_rng, bank_rng = jax.random.split(rng, 3)
    params = {
        "student": init_linear(student_rng, student_shapes.embedding.shape[-1], options.dim),
        "teacher": init_linear(teacher_rng, teacher_shapes.embedding.shape[-1], options.dim),
    }
    return params, CrdState(init_bank(bank_rng, options.num_examples, options.dim), jnp.zeros(()), jnp.zeros(()))


def _loss(
    options: _Options,
    draw_negatives: Callable[[Array, Array], Array],
    params: Params,
    state: CrdState,
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[CrdState, Metrics]]:
    student_vectors = project(params["student"], student.embedding)
    teacher_vectors = project(params["teacher"], jax.lax.stop_gradient(teacher.embedding))
    negatives = draw_negatives(keys_for_local_rows(rng, len(batch.indices), axis_name), batch.labels)
    # All rows of the bank are scored and weighted by the number of draws. To gather the drawn rows would be slower,
    # because the gradient of a gather is a scatter.
    positive = jax.nn.one_hot(batch.indices, options.num_examples)
    draw_counts = jnp.zeros_like(positive).at[jnp.arange(len(negatives))[:, None], negatives].add(1.0)

    def direction(queries: Array, bank: Array, partition: Array) -> tuple[Array, Array]:
        scores = all_scores(queries, bank, options.temperature)
        partition = partition_constant_or_init(
            partition, scores, positive + draw_counts, options.num_examples, axis_name
        )
        probabilities = scores / partition
        value = nce(
            jnp.take_along_axis(probabilities, batch.indices[:, None], axis=1)[:, 0],
            probabilities,
            num_examples=options.num_examples,
            num_negatives=options.num_negatives,
            draw_counts=draw_counts,
        )
        return value, partition

    student_loss, student_partition = direction(student_vectors, state.bank.teacher, state.student_partition)
    teacher_loss, teacher_partition = direction(teacher_vectors, state.bank.student, state.teacher_partition)
    bank = update_bank(state.bank, batch, student_vectors, teacher_vectors, options.momentum, axis_name)
    metrics = {"agreement": jnp.mean(jnp.sum(student_vectors * teacher_vectors, axis=1))}
    return student_loss + teacher_loss, (CrdState(bank, student_partition, teacher_partition), metrics)


def _other_class_sampler(labels: np.ndarray, num_negatives: int) -> Callable[[Array, Array], Array]:
    """Returns a function (keys key[b], labels i32[b]) -> i32[b,num_negatives] that draws examples of other classes.

    The draws are uniform and with replacement. Examples are sorted by class, so that those of one class are a single
    interval, and a draw at or after its start is shifted by its length.
    """
    counts = np.bincount(labels)
    if np.count_nonzero(counts) < 2:
        raise ValueError("crd: negatives come from other classes, but all training labels are the same")
    order = np.argsort(labels, kind="stable").astype(np.int32)
    starts = (np.cumsum(counts) - counts).astype(np.int32)
    counts = counts.astype(np.int32)

    def draw_row(key: Array, label: Array) -> Array:
        start, count = jnp.asarray(starts)[label], jnp.asarray(counts)[label]
        drawn = jax.random.randint(key, (num_negatives,), 0, len(order) - count)
        return jnp.asarray(order)[jnp.where(drawn < start, drawn, drawn + count)]

    return jax.vmap(draw_row)
