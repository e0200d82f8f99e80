"""Relational Representation Distillation (Giakoumoglou & Stathaki 2024): alike in what the memory is alike to."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller
from rdd_jax.losses.contrastive import products, relational_contrast
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import FifoQueue, enqueue, init_queue, momentum_update, random_vectors
from rdd_jax.methods._contrastive import check_labels, check_options, project
from rdd_jax.methods._projections import Head, init_head


class RrdState(NamedTuple):
    """The teacher's vectors, FifoQueue or one f32[N,dim] for every example, and the teacher's fixed random head."""

    memory: FifoQueue | Array
    teacher_head: Head


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
    """The student's softened similarities to remembered teacher vectors shall be the teacher's. Weight 1.

    The batch is remembered before it is compared, so that each image meets itself (in a queue as long as the global
    batch). With "momentum" the rows compared
    are those of the global batch and `num_negatives` drawn from the whole bank, the same for all images of a step;
    both networks meet the teacher's vectors, where the authors' release has each meet the other's.

    Args:
        training_labels: i32[N], of the whole training set: its length sizes the bank.
        dim: d of the projected unit vectors.
        num_negatives: length of the queue, or rows drawn from the bank.
        student_temperature: what the student's cosines are divided by.
        teacher_temperature: what the teacher's are, lower so that the target is sharper.
        memory: "queue", of the latest teacher vectors, or "momentum", one for every example, moved by momentum.
        momentum: share of the old vector kept in the bank.

    Raises:
        ValueError: for an impossible option.
    """
    for temperature in (student_temperature, teacher_temperature):
        check_options("rrd", dim=dim, num_negatives=num_negatives, temperature=temperature, momentum=momentum)
    if memory not in ("queue", "momentum"):
        raise ValueError(f'rrd: memory must be "queue" or "momentum"; got "{memory}"')
    num_examples = len(check_labels("rrd", training_labels))

    def init(rng, student_shapes, teacher_shapes):
        student_rng, teacher_rng, memory_rng = jax.random.split(rng, 3)
        # No gradient reaches the teacher's head: among the parameters the optimizer would decay it away.
        teacher_head = init_head(teacher_rng, teacher_shapes.embedding.shape[-1], dim)
        if memory == "queue":
            start = init_queue(memory_rng, num_negatives, dim)
        else:
            start = l2_normalize(random_vectors(memory_rng, num_examples, dim))
        return init_head(student_rng, student_shapes.embedding.shape[-1], dim), RrdState(start, teacher_head)

    def remember(remembered: FifoQueue | Array, batch: Batch, vectors: Array, rng: Array, axis_name: str | None):
        """-> (the memory with the global batch in it, the rows f32[q,dim] to compare with)."""
        vectors = all_gather(vectors, axis_name)
        if memory == "queue":
            queue = enqueue(remembered, vectors)
            return queue, queue.vectors
        indices = all_gather(batch.indices, axis_name)
        bank = momentum_update(remembered, indices, vectors, momentum)
        drawn = jax.random.randint(rng, (num_negatives,), 0, num_examples)
        return bank, bank[jnp.concatenate([indices, drawn])]

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        ours = project(params, student.embedding)
        theirs = project(state.teacher_head, teacher.embedding)
        remembered, rows = remember(state.memory, batch, theirs, rng, axis_name)
        value = relational_contrast(
            products(ours, rows), products(theirs, rows), student_temperature, teacher_temperature
        )
        metrics = {"agreement": jnp.mean(jnp.sum(ours * theirs, axis=1))}
        return value, (state._replace(memory=remembered), metrics)

    return Distiller(init, loss)
