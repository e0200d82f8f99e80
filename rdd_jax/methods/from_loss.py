"""Distillers that are a pure loss."""

from collections.abc import Callable

from rdd_jax.core.types import Array, Distiller


def from_loss(fn: Callable[..., Array]) -> Distiller:
    """Lifts a pure loss (student: Outputs, teacher: Outputs, batch: Batch, axis_name) -> f32[] to a Distiller."""

    def init(rng, student_shapes, teacher_shapes):
        return {}, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return fn(student, teacher, batch, axis_name), (state, {})

    return Distiller(init, loss)
