"""Numerically safe building blocks of the losses."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array


def l2_normalize(vectors: Array) -> Array:
    """Scales each row of f32[...,d] to unit length.

    A row shorter than 1e-6 has no direction and becomes zeros, as does one whose squares overflow (from 1.8e19 on); one
    that is not finite becomes NaN.
    """
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    # Two wheres: the slope is without bound at 0, and one dead row must not carry the others away.
    # And not >, which would make zeros of NaN.
    apart = ~(squared <= 1e-12)
    return jnp.where(apart, vectors * jax.lax.rsqrt(jnp.where(apart, squared, 1.0)), 0.0)
