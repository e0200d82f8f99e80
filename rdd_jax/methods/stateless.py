"""Methods that are a pure loss: cross-entropy, knowledge distillation, relational knowledge distillation."""

from collections.abc import Callable

import jax.numpy as jnp

from rdd_jax.collectives import all_gather
from rdd_jax.losses import logits, relational
from rdd_jax.types import Array, Batch, Distiller, Outputs


def stateless(fn: Callable[..., Array]) -> Distiller:
    """Lifts a pure loss (student: Outputs, teacher: Outputs, batch: Batch, axis_name) -> f32[] to a Distiller."""

    def init(rng, student_shapes, teacher_shapes):
        return {}, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return fn(student, teacher, batch, axis_name), (state, {})

    return Distiller(init, loss)


def ce() -> Distiller:
    """Cross-entropy with the labels: no distillation. The `gamma` term of `gamma*L_CE + alpha*L_KD + beta*L_RDD`."""

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return logits.cross_entropy(student[0], batch.labels)

    return stateless(loss)


def kd(*, temperature: float = 4.0) -> Distiller:
    """Knowledge distillation (Hinton et al. 2015): the teacher's softened predictions. The recipe weighs it 0.9."""
    if not temperature > 0:
        raise ValueError(f"kd: temperature must be above 0; got {temperature}")

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return logits.distillation_kl(student[0], teacher[0], temperature)

    return stateless(loss)


def rkd(*, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Distiller:
    """Relational knowledge distillation (Park et al. 2019) on the embeddings of the global batch.

    A weight of 0 leaves its half out: the distance-only and the angle-only form.
    """
    if min(distance_weight, angle_weight) < 0:
        raise ValueError(f"rkd: weights must not be negative; got {distance_weight} and {angle_weight}")

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        ours = all_gather(student[1].embedding, axis_name).astype(jnp.float32)
        theirs = all_gather(teacher[1].embedding, axis_name).astype(jnp.float32)
        total = jnp.zeros(())
        if distance_weight:
            total += distance_weight * relational.rkd_distance(ours, theirs)
        if angle_weight:
            total += angle_weight * relational.rkd_angle(ours, theirs)
        return total

    return stateless(loss)
