"""The configuration of a run: frozen dataclasses, made once from what the user gives and passed on.

Every key of the `ml_collections.ConfigDict` that a user writes, and of a run's config.json, is a field here or in the
dataclass of a component. There stand its default, its meaning and the check of its value.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from rdd_jax import methods
from rdd_jax.core import io
from rdd_jax.core.errors import is_plain_text, unknown_name_message
from rdd_jax.core.options import check_numbers, check_values
from rdd_jax.data.options import AugmentOptions, DataOptions
from rdd_jax.data.samplers import SamplerOptions
from rdd_jax.models import DTYPES
from rdd_jax.runs.network_options import StudentOptions, TeacherOptions
from rdd_jax.steps.mining import MiningOptions
from rdd_jax.steps.optimizer import OptimizerOptions, RecipeOptions

_SEEDS = 2**31  # Seeds are i32.
# By the last part of the key: more than any machine has time or memory for, and so a slip.
_MOST = {"epochs": 10**6, "steps_per_call": 10**5}
_MOST_OF_METHODS = {"dim": 10**5, "num_negatives": 10**6}


class NonFinitePolicy(StrEnum):
    """The continuation of a run whose loss or state is not finite.

    STOP: ends the run.
    SKIP: leaves out every update that would make the state non-finite; see `train_step.skip_nonfinite_updates`.
    ROLLBACK: continues with the weights of the last checkpoint.
    """

    STOP = "stop"
    SKIP = "skip"
    ROLLBACK = "rollback"


def _cross_entropy_alone() -> dict[str, dict[str, Any]]:
    """Every method with its default options; all weights but that of cross-entropy are 0."""
    weights = {methods.CROSS_ENTROPY: 1.0}
    return {name: methods.TERM | {"weight": weights.get(name, 0.0)} | methods.options(name) for name in methods.METHODS}


@dataclass(frozen=True, kw_only=True)
class RunConfig(RecipeOptions):
    """All keys of a run.

    preset: the name of the preset, for the run's own name.
    pair: of networks, where a preset has several.
    trains_teacher: whether this run trains the teacher of others.
    seed: of all random draws, in [0, 2**31).
    dtype: "float32" or "bfloat16", of the networks' computation.
    data: the images. Its `dataset` is a key of its own at the top of a configuration.
    augment: the augmentation.
    epochs: of training.
    batch_size: over all devices.
    optimizer: the optimizer and the shape of its learning rate.
    student: the trained network.
    teacher: the frozen network.
    distill: {method: {"weight": w, option: value}}, for every method; those whose weight is not 0 are summed. The
        weight of a method may grow over its `warmup_epochs`, of the `warmup_shape` "linear" or "cosine".
    mining: when methods that mine do so.
    sampler: the images that an epoch visits.
    nonfinite: what is done when loss or weights are not finite. "stop" ends the run, "skip" leaves that update out,
        "rollback" continues from the weights of the last checkpoint, after the batches that caused it. No such state is
        ever saved.
    eval_every_epochs: epochs from one evaluation to the next.
    checkpoint_every_epochs: epochs from one checkpoint to the next; shares of an epoch are fine.
    keep_all_checkpoints: whether all are kept, not only the two latest and the most accurate.
    steps_per_call: updates that are sent to the devices at once; 0: one on CPU, up to 100 elsewhere.
    """

    preset: str = ""
    pair: str = ""
    trains_teacher: bool = False
    seed: int = 0
    dtype: str = "float32"
    data: DataOptions = field(default_factory=DataOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    epochs: int = 1
    batch_size: int = 64
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    student: StudentOptions = field(default_factory=StudentOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    distill: Mapping[str, Mapping[str, Any]] = field(default_factory=_cross_entropy_alone)
    mining: MiningOptions = field(default_factory=MiningOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    nonfinite: str = "stop"
    eval_every_epochs: int = 1
    checkpoint_every_epochs: float = 1.0
    keep_all_checkpoints: bool = False
    steps_per_call: int = 0

    def __post_init__(self):
        check_numbers(self, "", _MOST)
        super().__post_init__()
        for name, options in self.distill.items():
            check_values(options, f"distill.{name}", _MOST_OF_METHODS)
        for key, value in io.flatten(self.to_dict()):
            _check_text(key, value)
        for key in ("epochs", "eval_every_epochs", "checkpoint_every_epochs"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0; got {getattr(self, key)}")
        if self.steps_per_call < 0:
            raise ValueError(f"steps_per_call must not be negative; got {self.steps_per_call}")
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"seed must be in [0, 2**31); got {self.seed}")
        if self.dtype not in DTYPES:
            raise ValueError(unknown_name_message("dtype", self.dtype, DTYPES))
        if self.teacher.kind == "ema" and not self.optimizer.ema:
            raise ValueError("teacher.kind=ema needs an average of the weights: set --config.optimizer.ema=0.999")
        if self.nonfinite not in tuple(NonFinitePolicy):
            raise ValueError(unknown_name_message("nonfinite", self.nonfinite, NonFinitePolicy))

    @property
    def dataset(self) -> str:
        """The name of the data set, "" for a folder of images."""
        return self.data.dataset

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys as a user gives them, and as config.json holds them."""
        keys = dataclasses.asdict(self)
        return {"dataset": keys["data"].pop("dataset"), **keys}

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> Self:
        """Makes the configuration of `to_dict`'s keys, in any order; lists, as JSON has them, become tuples.

        Raises:
            KeyError: for a missing or an unknown key; the error's argument says which.
            ValueError: for an impossible value.
        """
        keys = dict(keys)
        if not isinstance(keys.get("data"), Mapping) or "dataset" not in keys:
            raise KeyError("there is no dataset, or no section data")
        data = {**keys.pop("data"), "dataset": keys.pop("dataset")}
        return _make(cls, {"data": data, **keys}, "")

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Returns the configuration with other values of dotted keys, as in {"data.folder": "pictures"}."""
        keys = self.to_dict()
        for key, value in values.items():
            *sections, last = key.split(".")
            section = keys
            for name in sections:
                section = section[name]
            section[last] = value
        return self.from_dict(keys)


def differences(one: RunConfig, other: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the dotted keys in which two configurations differ, with both values; None where a key is missing."""
    flat, other_flat = (dict(io.flatten(config.to_dict())) for config in (one, other))
    pairs = {key: (flat.get(key), other_flat.get(key)) for key in sorted(flat.keys() | other_flat.keys())}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _make(options: type, keys: Any, prefix: str) -> Any:
    """Makes a dataclass of nested mappings; `prefix` is the section's name and a dot, for errors."""
    if not isinstance(keys, Mapping):
        raise TypeError(f"{prefix.rstrip('.')} is no section")
    fields = {each.name: each.type for each in dataclasses.fields(options)}
    if missing := sorted(fields.keys() - keys.keys()):
        raise KeyError(f"there is no {prefix}{missing[0]}")
    if unknown := sorted(keys.keys() - fields.keys()):
        raise KeyError(f"{prefix}{unknown[0]} is unknown")
    values = {}
    for name, value in keys.items():
        kind = fields[name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            value = _make(kind, value, f"{prefix}{name}.")
        values[name] = tuple(value) if isinstance(value, list) else value
    return options(**values)


def _check_text(key: str, value: Any) -> None:
    """Raises ValueError for text that cannot be a part of a path: with NUL, or with halves of characters."""
    if isinstance(value, str) and not is_plain_text(value):
        raise ValueError(f"{key} must be text without control characters; got {value!r}")
