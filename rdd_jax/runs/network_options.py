"""The keys of a configuration about the two networks: the sections `student` and `teacher`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers, plain_arguments
from rdd_jax.steps.ensemble import EnsembleOptions
from rdd_jax.steps.teacher_cache import TeacherCacheOptions

TEACHERS = ("frozen", "ema")
# The arguments of a network that the program sets itself.
_SET_ARGUMENTS = ("name", "num_classes", "axis_name", "dtype", "rngs")


@dataclass(frozen=True, kw_only=True)
class StudentOptions:
    """The trained network.

    name: of `models.MODELS`, or the user's factory as FILE.py:FACTORY or package.module:FACTORY.
    kwargs: further arguments of the network or factory, by name: text, numbers, True, False, None, and tuples and
        dictionaries of these. Lists become tuples.
    """

    name: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kwargs", _network_arguments(self.kwargs))


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(TeacherCacheOptions, EnsembleOptions):
    """The frozen teacher, or several; the keys below are those of a single one, which `members` replace.

    kind: "frozen", or "ema" for a mean teacher (Tarvainen & Valpola 2017): the moving average of the student's own
        weights, of decay `optimizer.ema`. There is then no frozen teacher, and `name` becomes "".
    name: as of the student; "" for no teacher.
    kwargs: as of the student.
    checkpoint: the workdir of a run, or a file of weights (.pth, .safetensors). Without one a teacher is trained first,
        by the `seed`, `epochs` and `learning_rate` here and else by the run's recipe, and kept beside the workdir.
    """

    kind: str = "frozen"
    name: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    seed: int = 0
    epochs: int = 1
    learning_rate: float = 0.05

    def __post_init__(self):
        TeacherCacheOptions.__post_init__(self)
        EnsembleOptions.__post_init__(self)
        object.__setattr__(self, "kwargs", _network_arguments(self.kwargs))
        check_numbers(self, "teacher", {"epochs": 10**6})
        if self.members and self.checkpoint:
            raise ValueError("teacher.members name their own checkpoints: leave out teacher.checkpoint")
        if self.kind not in TEACHERS:
            raise ValueError(unknown_name_message("teacher.kind", self.kind, TEACHERS))
        if self.kind == "ema":
            if given := [key for key in ("checkpoint", "members") if getattr(self, key)]:
                raise ValueError(f"teacher.kind=ema is the student's own average: leave out teacher.{given[0]}")
            if self.cache != "none":
                raise ValueError("the outputs of a changing teacher cannot be cached: set --config.teacher.cache=none")
            object.__setattr__(self, "name", "")
            object.__setattr__(self, "kwargs", {})

    @property
    def is_given(self) -> bool:
        """True unless the run has no teacher."""
        return bool(self.name or self.members)


def _network_arguments(kwargs: Any) -> dict[str, Any]:
    """Returns the arguments of a network with tuples for lists.

    Raises:
        TypeError: as `plain_arguments`.
        ValueError: for an argument that the program sets.
    """
    arguments = plain_arguments("kwargs", kwargs)
    if taken := [name for name in _SET_ARGUMENTS if name in arguments]:
        raise ValueError(f"kwargs.{taken[0]} is an argument that the program sets: leave it out")
    return arguments
