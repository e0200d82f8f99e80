"""The teacher's outputs for a batch: from a forward pass in every step, or from a table computed before an epoch."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from rdd_jax.core.types import Array, Batch, ModelOutput, OnBatch
from rdd_jax.models import Network


class TeacherOutputs(NamedTuple):
    """The teacher's outputs for the augmented images of one epoch, by position in the training set.

    logits: f32[n,classes].
    embeddings: f32[n,d].
    """

    logits: Array
    embeddings: Array


class TeacherFn(Protocol):
    """The part of a training step that finds the teacher's output."""

    def __call__(self, teacher: Any, batch: Batch, /) -> ModelOutput:
        """Returns the teacher's output for the rows of this device.

        Args:
            teacher: the variables of `forward_teacher`, or the `TeacherOutputs` of `cached_teacher`; replicated.
            batch: with augmented inputs.
        """


class PrepareTeacher(Protocol):
    """Is called before each epoch."""

    def __call__(
        self, first_step: int, batches: np.ndarray, on_batch: OnBatch | None = None, /
    ) -> tuple[Any, dict[str, float]]:
        """Prepares the first argument of `TeacherFn` for an epoch.

        Args:
            first_step: the first update of the epoch.
            batches: i32[steps,b], the positions of the images of each update.
            on_batch: is called after each batch that the teacher computes.

        Returns:
            (the argument, replicated; seconds and counts for the log).
        """


def forward_teacher(network: Network) -> TeacherFn:
    """Makes the function that runs the teacher's forward pass in every step."""

    def teacher_outputs(variables: Any, batch: Batch, /) -> ModelOutput:
        return network.apply(variables, batch.inputs, train=False)[0]

    return teacher_outputs


def cached_teacher(outputs: TeacherOutputs, batch: Batch, /) -> ModelOutput:
    """Looks up the teacher's outputs in the table of the epoch; there are no feature maps."""
    return ModelOutput(outputs.logits[batch.indices], outputs.embeddings[batch.indices])


def constant_teacher(teacher: Any) -> PrepareTeacher:
    """Makes the `PrepareTeacher` that returns `teacher` for every epoch."""

    def prepare(first_step: int, batches: np.ndarray, on_batch: OnBatch | None = None, /) -> tuple[Any, dict]:
        return teacher, {}

    return prepare
