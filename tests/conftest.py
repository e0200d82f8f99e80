"""Four fake devices for every test. pytest imports this before anything imports JAX."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest


@pytest.fixture
def devices():
    """How many devices this process has, for a test that needs several."""
    if jax.local_device_count() == 1:
        pytest.skip("needs several devices: XLA_FLAGS=--xla_force_host_platform_device_count=4")
    return jax.local_device_count()
