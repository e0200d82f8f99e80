"""The authors' numbers for the losses, and how near to them ours must be."""

import functools
import pathlib

import jax
import numpy as np

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"
LOSSES, MEMORY = (dict(np.load(GOLDENS / name)) for name in ("losses.npz", "memory.npz"))

# Float32 sums in another order than PyTorch's: the agreement is about 5e-7, with room for other builds of XLA.
assert_close = functools.partial(np.testing.assert_allclose, rtol=5e-6)


def assert_same_gradient(actual, expected):
    """Small entries are differences of large ones: the scale of the whole gradient is what counts."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6 * np.abs(expected).max())


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.cache
def value_and_grad(loss):
    """Jitted once for all tests: of loss(student, teacher), the gradients of both."""
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
