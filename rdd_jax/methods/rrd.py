"""Relational Representation Distillation (Giakoumoglou & Stathaki 2024)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params
from rdd_jax.losses.contrastive import products, relational_contrast
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import FifoQueue, enqueue, init_queue, momentum_update, random_vectors
from rdd_jax.methods._contrastive import check_labels, check_options, project
from rdd_jax.methods._linear import LinearParams, init_linear
from rdd_jax.methods.registry import register


class RrdState(NamedTuple):
    """The state of RRD.

    memory: teacher vectors, a queue or one vector f32[N,dim] for each example.
    teacher_head: the teacher's projection, which is not trained.
    """

    memory: FifoQueue | Array
    teacher_head: LinearParams


class _Options(NamedTuple):
    """The checked options of `rrd`, and N."""

    num_examples: int
    dim: int
    num_negatives: int
    student_temperature: float
    teacher_temperature: float
    memory: str
    momentum: float


@register
def rrd(
    training_labels: np.ndarray,
    *,
    dim: int = 128,
    num_negatives: int = 16384,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.02,
    memory: str = "queue",
    momentum: float = 0.5,
) -> Distiller:
    """Matches the student's and the teacher's softened similarities to a memory of teacher vectors.

    The global batch enters the memory before the comparison, so that each image is compared with its own vector too (if
    the queue is as long as the global batch). With `memory="momentum"` the vectors compared with are those of the
    global batch and `num_negatives` drawn from the whole bank, the same for all images of a step. Both networks are
    compared with teacher vectors; in the authors' release each is compared with the other's.

    Args:
        training_labels: i32[N], the labels of the whole training set, -1 for examples without one; only their number
            is used.
        dim: d of the projected unit vectors.
        num_negatives: the length of the queue, or the number of vectors drawn from the bank.
        student_temperature: by which the student's cosines are divided.
        teacher_temperature: by which the teacher's cosines are divided; a lower one makes a sharper target.
        memory: "queue", of the latest teacher vectors, or "momentum", one vector for each example.
        momentum: the share of the old vector in an update of the bank.

    Metrics:
        agreement: the mean cosine of an image's projections by student and teacher.

    Raises:
        ValueError: for an impossible option.
    """
    for temperature in (student_temperature, teacher_temperature):
        check_options("rrd", dim=dim, num_negatives=num_negatives, temperature=temperature, momentum=momentum)
    if memory not in ("queue", "momentum"):
        raise ValueError(f'rrd: memory must be "queue" or "momentum"; got "{memory}"')
    options = _Options(
        num_examples=len(check_labels("rrd", training_labels)),
        dim=dim,
        num_negatives=num_negatives,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
        memory=memory,
        momentum=momentum,
    )
    return Distiller(init=partial(_init, options), loss=partial(_loss, options))


def _init(
    options: _Options, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[Params, RrdState]:
    student_rng, teacher_rng, memory_rng = jax.random.split(rng, 3)
    # In the state and not among the parameters: it has no gradient, and weight decay would shrink it.
    teacher_head = init_linear(teacher_rng, teacher_shapes.embedding.shape[-1], options.dim)
    if options.memory == "queue":
        vectors = init_queue(memory_rng, options.num_negatives, options.dim)
    else:
        vectors = l2_normalize(random_vectors(memory_rng, options.num_examples, options.dim))
    return init_linear(student_rng, student_shapes.embedding.shape[-1], options.dim), RrdState(vectors, teacher_head)


def _update_memory(
    options: _Options,
    vectors: FifoQueue | Array,
    batch: Batch,
    teacher_vectors: Array,
    rng: Array,
    axis_name: str | None,
) -> tuple[FifoQueue | Array, Array]:
    """Returns the memory with the global batch in it, and the vectors f32[q,dim] to compare with."""
    teacher_vectors = all_gather(teacher_vectors, axis_name)
    if isinstance(vectors, FifoQueue):
        queue = enqueue(vectors, teacher_vectors)
        return queue, queue.vectors
    indices = all_gather(batch.indices, axis_name)
    bank = momentum_update(vectors, indices, teacher_vectors, options.momentum)
    drawn = jax.random.randint(rng, (options.num_negatives,), 0, options.num_examples)
    return bank, bank[jnp.concatenate([indices, drawn])]


def _loss(
    options: _Options,
    params: Params,
    state: RrdState,
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[RrdState, Metrics]]:
    student_vectors = project(params, student.embedding)
    teacher_vectors = project(state.teacher_head, teacher.embedding)
    vectors, rows = _update_memory(options, state.memory, batch, teacher_vectors, rng, axis_name)
    value = relational_contrast(
        products(student_vectors, rows),
        products(teacher_vectors, rows),
        options.student_temperature,
        options.teacher_temperature,
    )
    metrics = {"agreement": jnp.mean(jnp.sum(student_vectors * teacher_vectors, axis=1))}
    return value, (state._replace(memory=vectors), metrics)
