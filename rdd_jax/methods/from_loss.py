"""Distillers that are a pure loss."""

from typing import Protocol

from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput


class PureLoss(Protocol):
    """A loss without parameters, state and randomness."""

    def __call__(self, student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None, /) -> Array:
        """Returns this device's share f32[] of the loss of a batch; see `core.types.Loss`."""


def from_loss(fn: PureLoss, needs_feature_maps: bool = False) -> Distiller:
    """Lifts a pure loss to a Distiller without parameters and state.

    Args:
        fn: the loss.
        needs_feature_maps: whether it reads the feature maps of student and teacher.
    """

    def init(rng, student_shapes, teacher_shapes):
        return {}, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return fn(student, teacher, batch, axis_name), (state, {})

    return Distiller(init, loss, needs_feature_maps=needs_feature_maps)
