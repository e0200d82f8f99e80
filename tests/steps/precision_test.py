"""A step whose networks compute in bfloat16: what stays float32, and how near it comes to the float32 step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import workloads


@pytest.mark.parametrize("method", [pytest.param("crd", marks=pytest.mark.stress), "rdd"])
def test_in_bfloat16_the_state_and_the_losses_stay_float32(method):
    options = {"preset": "digits", "batch_size": 16}
    half, full = (workloads.train_step(method, **options, dtype=dtype) for dtype in ("bfloat16", "float32"))
    before = jax.tree.map(lambda leaf: leaf.dtype, half.state)
    (_, ours), (_, theirs) = half(), full()
    assert jax.tree.map(lambda leaf: leaf.dtype, half.state) == before
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(half.state) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert dtypes == {jnp.dtype(jnp.float32)}
    assert ours["loss"].dtype == jnp.float32
    # bfloat16 keeps 8 bits; the same weights and views give nearly the same loss, and not the same.
    assert ours["loss"] != theirs["loss"]
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=2e-2)
