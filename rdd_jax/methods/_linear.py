"""Trained linear layers between features and a loss: projections of embeddings, 1x1 convolutions of maps."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

LinearParams = dict[str, Array]  # {"kernel": f32[inputs,outputs], "bias": f32[outputs]}, or the kernel alone.


def init_linear(rng: Array, inputs: int, outputs: int, *, use_bias: bool = True) -> LinearParams:
    """Initialises a linear layer as PyTorch does: uniform in +-1/sqrt(inputs)."""
    kernel_rng, bias_rng = jax.random.split(rng)
    bound = inputs**-0.5
    params = {"kernel": jax.random.uniform(kernel_rng, (inputs, outputs), jnp.float32, -bound, bound)}
    if use_bias:
        params["bias"] = jax.random.uniform(bias_rng, (outputs,), jnp.float32, -bound, bound)
    return params


def apply_linear(params: LinearParams, inputs: Array, *, precision: jax.lax.Precision | None = None) -> Array:
    """Maps [...,inputs] of any float dtype to f32[...,outputs]. On a feature map it is a 1x1 convolution."""
    outputs = jnp.matmul(inputs.astype(jnp.float32), params["kernel"], precision=precision)
    return outputs + params["bias"] if "bias" in params else outputs
