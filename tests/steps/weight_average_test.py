"""The moving average of the weights, against numpy, and in a training step that is made up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from clu.metrics import Average

from rdd_jax.steps import train_state
from rdd_jax.steps.optimizer import OptimizerOptions
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import skip_nonfinite_updates
from rdd_jax.steps.weight_average import average_weights, teach_by_average, update_average

DECAY = 0.3  # Above the decay of the first two updates, 1/10 and 2/11.
WEIGHTS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def variables(step):
    weights = jnp.asarray(WEIGHTS[step])
    return {"params": {"w": weights}, "batch_stats": {"mean": -weights}, "counts": {"calls": jnp.int32(step)}}


def averages():
    """The expected averages of `w` before the first update and after each."""
    expected = [np.float64(WEIGHTS[0])]
    for step, weights in enumerate(WEIGHTS[1:]):
        decay = min(DECAY, (1 + step) / (10 + step))
        expected.append(decay * expected[-1] + (1 - decay) * weights)
    return expected


def state(average=None):
    return TrainState(
        step=jnp.int32(0),
        seed=jnp.int32(0),
        student=variables(0),
        distiller_params={},
        distiller_state={},
        optimizer=(optax.ScaleByScheduleState(count=jnp.int32(0)),),
        metrics={"loss": Average(jnp.float32(0), jnp.int32(0)), train_state.SKIPPED: Average.empty()},
        average=average,
    )


def train_step(state, batch, teacher):
    """Replaces the weights by `batch`."""
    student = {"params": {"w": batch}, "batch_stats": {"mean": -batch}, "counts": {"calls": state.step + 1}}
    return state._replace(step=state.step + 1, student=student)


def test_the_average_is_that_of_numpy():
    average = variables(0)
    for step, expected in enumerate(averages()[1:]):
        average = jax.jit(update_average, static_argnums=2)(average, variables(step + 1), DECAY, jnp.int32(step))
        np.testing.assert_allclose(average["params"]["w"], expected, rtol=1e-6)
        np.testing.assert_allclose(average["batch_stats"]["mean"], -expected, rtol=1e-6)
        assert average["counts"] == {"calls": step + 1}  # No float: the latest.


def test_averages_keep_their_dtype():
    average = {"params": {"w": jnp.ones(2, jnp.bfloat16)}}
    assert update_average(average, average, 0.9, jnp.int32(0))["params"]["w"].dtype == jnp.bfloat16


def test_a_step_also_updates_the_average():
    step, now = average_weights(train_step, DECAY), state(variables(0))
    for weights, expected in zip(WEIGHTS[1:], averages()[1:], strict=True):
        now = step(now, jnp.asarray(weights), {})
        np.testing.assert_array_equal(now.student["params"]["w"], weights)
        evaluated = train_state.evaluated_variables(now)
        np.testing.assert_allclose(evaluated["params"]["w"], expected, rtol=1e-6)


def test_a_skipped_update_does_not_change_the_average():
    step = skip_nonfinite_updates(average_weights(train_step, DECAY))
    first = step(state(variables(0)), jnp.asarray(WEIGHTS[1]), {})
    skipped = step(first, jnp.full(3, jnp.nan), {})
    jax.tree.map(np.testing.assert_array_equal, skipped.average, first.average)
    assert skipped.metrics[train_state.SKIPPED].total == 100
    expected = averages()[1] * 3 / 12 + WEIGHTS[3] * 9 / 12  # Update 2, as the skipped one counts.
    np.testing.assert_allclose(step(skipped, jnp.asarray(WEIGHTS[3]), {}).average["params"]["w"], expected, rtol=1e-6)


def test_without_an_average_the_student_is_evaluated():
    now = state()
    assert train_state.evaluated_variables(now) is now.student


@pytest.mark.parametrize("ema", [-0.1, 1.0, 1])
def test_impossible_decays_are_refused(ema):
    with pytest.raises(ValueError, match=r"optimizer\.ema must be in \[0, 1\); got"):
        OptimizerOptions(ema=ema)


def test_the_teacher_of_an_update_is_the_average_before_it():
    taught = []

    def step(state, batch, teacher):
        taught.append(teacher)
        return train_step(state, batch, teacher)

    mean_teacher = average_weights(teach_by_average(step), DECAY)
    current = mean_teacher(mean_teacher(state(average=variables(0)), WEIGHTS[1], {}), WEIGHTS[2], {})
    for teacher, expected in zip(taught, averages(), strict=False):
        np.testing.assert_allclose(teacher["params"]["w"], expected, rtol=1e-6)
    np.testing.assert_allclose(current.average["params"]["w"], averages()[2], rtol=1e-6)
