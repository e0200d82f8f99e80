"""Where a step has the teacher's outputs from: the network itself, or what it said of the same views before."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

from rdd_jax.core.types import Array, ModelOutput

# (what it teaches from, pixels f32[b,h,w,c], indices i32[b]) -> the teacher's outputs for these views
Teach = Callable[[Any, Array, Array], ModelOutput]


class Lessons(NamedTuple):
    """A teacher's outputs for the one view of each image that an epoch shows: f32[n,classes] and f32[n,d]."""

    logits: Array
    embeddings: Array


def live(teacher: nn.Module) -> Teach:
    """A teacher that looks at every view anew; it teaches from its variables."""

    def teach(variables, pixels, indices):
        return teacher.apply(variables, pixels, train=False)

    return teach


def remembered(lessons: Lessons, pixels: Array, indices: Array) -> ModelOutput:
    """A teacher that looks at nothing; it teaches from the epoch's lessons."""
    return ModelOutput(lessons.logits[indices], lessons.embeddings[indices])
