"""The optimizer and its learning rate, against numpy."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdd_jax.steps.optimizer import (
    OptimizerOptions,
    cosine_schedule,
    make_optimizer,
    set_schedule_count,
    stepped_schedule,
)


def test_sgd_couples_decay_and_momentum():
    optimizer = make_optimizer(OptimizerOptions(), lambda step: 0.1 / (step + 1), momentum=0.8, weight_decay=0.3)
    params = {"kernel": np.float32([1, -2]), "bias": np.float32([3])}
    expected, velocity = dict(params), {"kernel": 0.0, "bias": 0.0}
    state = optimizer.init(params)
    for step in range(3):
        gradients = {name: np.float32(step + 1) * np.ones_like(x) for name, x in params.items()}
        changes, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, changes)
        for name, x in expected.items():  # Biases decay as well.
            velocity[name] = 0.8 * velocity[name] + gradients[name] + 0.3 * x
            expected[name] = x - 0.1 / (step + 1) * velocity[name]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), params, expected)


def test_stepped_schedule():
    schedule = stepped_schedule(0.5, milestones=(10, 20), factor=0.1)
    rates = [float(schedule(step)) for step in (0, 9, 10, 19, 20, 99)]
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.05, 0.05, 0.005, 0.005], rtol=1e-6)


def test_milestones_that_coincide_both_count():
    schedule = stepped_schedule(0.5, milestones=(3, 4, 4), factor=0.1)
    np.testing.assert_allclose([float(schedule(step)) for step in (3, 4)], [0.05, 0.0005], rtol=1e-6)


def test_no_milestones_leave_the_learning_rate_alone():
    assert stepped_schedule(0.5, milestones=())(99) == 0.5


def test_stepped_schedule_warms_up():
    schedule = stepped_schedule(0.5, milestones=(3,), warmup_steps=5)
    rates = [float(schedule(step)) for step in range(6)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.04, 0.05, 0.05], rtol=1e-6)


def test_the_schedule_continues_at_a_set_count():
    optimizer = make_optimizer(
        OptimizerOptions(), stepped_schedule(0.5, milestones=(10,)), momentum=0.0, weight_decay=0.0
    )
    state = set_schedule_count(optimizer.init(np.float32(1)), np.int32(10))
    change, _ = optimizer.update(np.float32(1), state, np.float32(1))
    np.testing.assert_allclose(change, -0.05, rtol=1e-6)


def test_cosine_schedule_warms_up_and_falls_to_zero():
    schedule = cosine_schedule(0.5, steps=8, warmup_steps=2)
    rates = [float(schedule(step)) for step in (0, 4, 8, 9)]
    np.testing.assert_allclose(rates, [0.25, 0.25, 0.0, 0.0], atol=1e-7)


def make(name, params, *, momentum=0.9, weight_decay=0.1, **options):
    """The first change of the parameters, for gradients of 1."""
    optimizer = make_optimizer(
        OptimizerOptions(name=name, **options), lambda step: 0.1, momentum=momentum, weight_decay=weight_decay
    )
    gradients = jax.tree.map(np.ones_like, params)
    return optimizer.update(gradients, optimizer.init(params), params)[0]


PARAMS = {"kernel": np.full((2, 2), 3.0, np.float32), "bias": np.full(2, 3.0, np.float32)}


def test_adamw_has_a_weight_decay_of_its_own_and_takes_its_arguments():
    expected = optax.adamw(0.1, b1=0.5, weight_decay=0.1)
    ones = jax.tree.map(np.ones_like, PARAMS)
    jax.tree.map(
        np.testing.assert_allclose,
        make("adamw", PARAMS, kwargs={"b1": 0.5}),
        expected.update(ones, expected.init(PARAMS), PARAMS)[0],
    )


@pytest.mark.parametrize("name", ["sgd", "adamw", "adam"])
def test_weight_decay_can_leave_out_parameters_of_one_axis(name):
    decayed, plain = make(name, PARAMS), make(name, PARAMS, weight_decay=0.0)
    partly = make(name, PARAMS, decay_all=False)
    np.testing.assert_array_equal(partly["kernel"], decayed["kernel"])
    np.testing.assert_array_equal(partly["bias"], plain["bias"])
    assert name == "adam" or (partly["bias"] != decayed["bias"]).all()


def test_gradients_are_clipped_to_a_norm():
    # Six entries of 1 have the norm 6 ** 0.5.
    change = make("sgd", PARAMS, weight_decay=0.0, momentum=0.0, gradient_clip=0.6)
    np.testing.assert_allclose(change["bias"], -0.1 * 0.6 / 6**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adamww"}, 'unknown optimizer.name "adamww"; did you mean "adamw"'),
        ({"name": "chain"}, 'unknown optimizer.name "chain"'),
        ({"name": "adamw", "kwargs": {"beta": 0.9}}, 'unknown argument of optax.adamw "beta"'),
        ({"schedule": "cosin"}, 'unknown optimizer.schedule "cosin"; did you mean "cosine"'),
        ({"gradient_clip": -1.0}, "optimizer.gradient_clip must not be negative; got -1.0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_optimizer(OptimizerOptions(**options), lambda step: 0.1, momentum=0.9, weight_decay=0.0)
