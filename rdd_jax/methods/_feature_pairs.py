"""Which maps of student and teacher belong together, whatever the two networks show."""

import numpy as np

from rdd_jax.core.types import Array, ModelOutput


def paired_maps(student: ModelOutput, teacher: ModelOutput) -> list[tuple[Array, Array]]:
    """The maps after the stem, (student's, teacher's), shallow to deep.

    Where one network shows more, as many of its maps are taken as the other has, spread evenly, the deepest included.

    Raises:
        ValueError: where a network shows no map after the stem.
    """
    ours, theirs = student.feature_maps[1:], teacher.feature_maps[1:]
    count = min(len(ours), len(theirs))
    if not count:
        raise ValueError(f"needs maps after the stem of both networks; got {len(ours)} and {len(theirs)}")
    return list(zip(_spread(ours, count), _spread(theirs, count), strict=True))


def _spread(maps: tuple[Array, ...], count: int) -> list[Array]:
    return [maps[round(place)] for place in np.linspace(0 if count > 1 else len(maps) - 1, len(maps) - 1, count)]
