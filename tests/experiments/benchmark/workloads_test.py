"""The benchmark's workloads in JAX, on the digits."""

from functools import partial

import jax
import numpy as np
import pytest

from experiments.benchmark import workloads
from rdd_jax import models
from rdd_jax.core import devices


@pytest.mark.parametrize(("method", "runs_teacher"), [("teacher", False), ("kd", True)])
def test_a_step_counts_the_operations_of_its_networks(method, runs_teacher, monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda function: partial(jax.eval_shape, function))  # Nothing is run.
    monkeypatch.setattr(devices, "replicate", lambda tree: tree)
    small, large = (
        models.count_multiply_adds(network, models.variable_shapes(network, (8, 8, 1)), (8, 8, 1))
        for network in (models.create("resnet8", 10), models.create("resnet20", 10))
    )
    step = workloads.train_step(method, preset="digits", batch_size=16)
    assert step.multiply_adds == 16 * (3 * (large if method == "teacher" else small) + runs_teacher * large)


def test_a_call_makes_its_number_of_updates_and_can_be_repeated():
    """The state is donated: the second call must not need that of the first."""
    work = workloads.train_step("kd", preset="digits", batch_size=16, steps_per_call=2, cached=True)
    (first, start), (second, end) = work(), work()
    assert (first, second) == (2, 4)
    assert np.isfinite([start["loss"], end["loss"]]).all()
    assert start["loss"] != end["loss"]
