"""The clock that knows what was spent on making programs."""

import time

import jax
import jax.numpy as jnp
import pytest

from rdd_jax.core.compilation import CompilationTimer


def test_only_new_programs_add_compilation_time():
    double = jax.jit(lambda x: 2 * x)
    with CompilationTimer() as clock:
        assert clock.seconds == 0
        double(jnp.ones(3))
        once = clock.seconds
        assert once > 0
        double(jnp.ones(3))
        assert clock.seconds == once
        double(jnp.ones(4))
        twice = clock.seconds
        assert twice > once
    jax.jit(lambda x: 3 * x)(jnp.ones(3))
    assert clock.seconds == twice


def test_nested_traces_are_counted_once():
    @jax.jit
    def slow_to_trace(x):
        time.sleep(0.05)
        return x + 1

    started = time.perf_counter()
    with CompilationTimer() as clock:
        jax.jit(lambda x: jax.jit(lambda y: slow_to_trace(y))(x))(jnp.ones(3))
    assert 0.05 <= clock.seconds <= time.perf_counter() - started


def test_other_events_are_ignored():
    with CompilationTimer() as clock:
        jax.monitoring.record_event_duration_secs("/jax/checkpoint/write", 3.0)
        assert clock.seconds == 0
        jax.monitoring.record_event_duration_secs("/jax/core/compile/backend_compile_duration", 0.25)
        jax.monitoring.record_event_duration_secs("/jax/core/compile/jaxpr_trace_duration", 0.5)
    assert clock.seconds == pytest.approx(0.5, abs=0.05)
