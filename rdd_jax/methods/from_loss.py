"""Distillers of pure losses."""

from typing import Protocol

from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State


class PureLoss(Protocol):
    """A loss without parameters, state and randomness."""

    def __call__(self, student: ModelOutput, teacher: ModelOutput, batch: Batch, axis_name: str | None, /) -> Array:
        """Computes this device's share f32[] of the loss of a batch; see `core.types.Loss`."""


def from_loss(fn: PureLoss, needs_feature_maps: bool = False, needs_labels: bool = False) -> Distiller:
    """Makes a Distiller without parameters and state of a pure loss.

    Args:
        fn: the loss.
        needs_feature_maps: whether it reads the feature maps of student and teacher.
        needs_labels: whether it reads the labels.
    """

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, State]:
        return {}, {}

    def loss(
        params: Params,
        state: State,
        student: ModelOutput,
        teacher: ModelOutput,
        batch: Batch,
        *,
        rng: Array,
        axis_name: str | None = None,
    ) -> tuple[Array, tuple[State, Metrics]]:
        return fn(student, teacher, batch, axis_name), (state, {})

    return Distiller(init, loss, needs_feature_maps=needs_feature_maps, needs_labels=needs_labels)
