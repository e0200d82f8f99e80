"""The functions of a run with several teachers: one network, one `TeacherFn` and one `PrepareTeacher` for all."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rdd_jax.core.types import Array, Batch, ModelOutput, OnBatch
from rdd_jax.models import Network
from rdd_jax.models.network import Variables
from rdd_jax.steps.ensemble import EnsembleOptions, combine_by
from rdd_jax.steps.teacher import PrepareTeacher, TeacherFn


def ensemble_network(networks: Sequence[Network], options: EnsembleOptions) -> Network:
    """Makes the network of several teachers, which is always in evaluation mode.

    Its variables are those of `join_variables`.
    """
    combine_outputs = combine_by(options)

    def init(rng: Array, example: Any, /) -> Variables:
        keys = jax.random.split(rng, len(networks))
        return join_variables([network.init(key, example) for network, key in zip(networks, keys, strict=True)])

    def apply(
        variables: Variables, inputs: Any, *, train: bool, rngs: Mapping[str, Array] | None = None
    ) -> tuple[ModelOutput, Variables]:
        members = split_variables(variables, len(networks))
        applied = zip(networks, members, strict=True)
        return combine_outputs([network.apply(member, inputs, train=False)[0] for network, member in applied]), {}

    return Network(init, apply)


def join_variables(members: Sequence[Variables]) -> Variables:
    """Joins the variables of networks: {"params": {"0": ..., "1": ...}, "batch_stats": {...}}."""
    collections = sorted({name for variables in members for name in variables})
    return {
        name: {str(k): variables[name] for k, variables in enumerate(members) if name in variables}
        for name in collections
    }


def split_variables(variables: Variables, number: int) -> list[Variables]:
    """Returns the variables of each of `number` networks that `join_variables` has joined."""
    return [{name: own[str(k)] for name, own in variables.items() if str(k) in own} for k in range(number)]


def ensemble_teacher(members: Sequence[TeacherFn], options: EnsembleOptions) -> TeacherFn:
    """Makes the `TeacherFn` of several; its first argument holds that of each."""
    combine_outputs = combine_by(options)

    def teacher_outputs(teachers: Any, batch: Batch, /) -> ModelOutput:
        outputs = [member(teacher, batch) for member, teacher in zip(members, teachers, strict=True)]
        return combine_outputs(outputs, batch.labels)

    return teacher_outputs


def prepare_ensemble(members: Sequence[PrepareTeacher]) -> PrepareTeacher:
    """Makes the `PrepareTeacher` of several; the values for the log are summed."""

    def prepare(
        first_step: int, batches: np.ndarray, on_batch: OnBatch | None = None, /
    ) -> tuple[Any, dict[str, float]]:
        teachers, log_values = zip(*(member(first_step, batches, on_batch) for member in members), strict=True)
        return teachers, {name: sum(values[name] for values in log_values) for name in log_values[0]}

    return prepare
