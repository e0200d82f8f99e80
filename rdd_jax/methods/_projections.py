"""Trained linear layers between a network's features and a loss: projection heads, and 1x1 convolutions on maps."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array

Head = dict[str, Array]


def init_head(rng: Array, inputs: int, outputs: int, *, use_bias: bool = True) -> Head:
    """A linear layer {"kernel": f32[inputs,outputs], "bias": f32[outputs]}, as torch starts it: U(+-1/sqrt(inputs))."""
    kernel_rng, bias_rng = jax.random.split(rng)
    bound = inputs**-0.5
    head = {"kernel": jax.random.uniform(kernel_rng, (inputs, outputs), jnp.float32, -bound, bound)}
    if use_bias:
        head["bias"] = jax.random.uniform(bias_rng, (outputs,), jnp.float32, -bound, bound)
    return head


def linear(head: Head, inputs: Array, *, precision: jax.lax.Precision | None = None) -> Array:
    """[...,inputs] of any float dtype -> f32[...,outputs]; on a map [b,h,w,c] it is a 1x1 convolution."""
    outputs = jnp.matmul(inputs.astype(jnp.float32), head["kernel"], precision=precision)
    return outputs + head["bias"] if "bias" in head else outputs
