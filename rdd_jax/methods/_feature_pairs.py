"""Pairs of feature maps of student and teacher."""

import numpy as np

from rdd_jax.core.types import Array, ModelOutput


def pair_feature_maps(student: ModelOutput, teacher: ModelOutput) -> list[tuple[Array, Array]]:
    """Pairs the feature maps after the stem, shallow to deep: [(student's, teacher's), ...].

    If one network has more maps, an evenly spaced subset that includes the deepest is paired.

    Raises:
        ValueError: if a network has no map after the stem.
    """
    student_maps, teacher_maps = student.feature_maps[1:], teacher.feature_maps[1:]
    count = min(len(student_maps), len(teacher_maps))
    if not count:
        raise ValueError(
            f"needs feature maps after the stem of both networks; got {len(student_maps)} and {len(teacher_maps)}"
        )
    return list(zip(_spread(student_maps, count), _spread(teacher_maps, count), strict=True))


def _spread(maps: tuple[Array, ...], count: int) -> list[Array]:
    """Selects `count` maps, evenly spaced, with the last."""
    return [maps[round(index)] for index in np.linspace(0 if count > 1 else len(maps) - 1, len(maps) - 1, count)]
