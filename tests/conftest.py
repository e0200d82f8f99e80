"""Four fake devices for every test. pytest imports this before anything imports JAX."""

import os

ENVIRONMENT = dict(os.environ)
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def environment():
    """The environment for a program that a test starts: as the caller set it, without the fake devices."""
    return {**ENVIRONMENT, "JAX_PLATFORMS": ENVIRONMENT.get("JAX_PLATFORMS", "cpu")}


@pytest.fixture
def devices():
    """How many devices this process has, for a test that needs several."""
    if jax.local_device_count() == 1:
        pytest.skip("needs several devices: XLA_FLAGS=--xla_force_host_platform_device_count=4")
    return jax.local_device_count()
