"""The optimizer and its learning rate, against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.steps.optimizer import set_schedule_count, sgd, stepped_schedule


def test_sgd_couples_decay_and_momentum():
    optimizer = sgd(lambda step: 0.1 / (step + 1), momentum=0.8, weight_decay=0.3)
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
    optimizer = sgd(stepped_schedule(0.5, milestones=(10,)), momentum=0.0, weight_decay=0.0)
    state = set_schedule_count(optimizer.init(np.float32(1)), np.int32(10))
    change, _ = optimizer.update(np.float32(1), state, np.float32(1))
    np.testing.assert_allclose(change, -0.05, rtol=1e-6)
