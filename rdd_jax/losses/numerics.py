"""Building blocks of the losses with safe values and gradients."""

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array


def l2_normalize(vectors: Array) -> Array:
    """Scales each row of f32[...,d] to unit length.

    A row shorter than 1e-6, whose direction would be noise, becomes zeros, with zero gradient. So does a row whose
    squares overflow (components from 1.8e19). A row with NaN or infinity has NaN.
    """
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    # Two wheres, because the slope is infinite at 0 and 0 * inf in the unused branch would be NaN. The comparison is
    # negated, so that NaN is not taken for a short row.
    has_direction = ~(squared <= 1e-12)
    return jnp.where(has_direction, vectors * jax.lax.rsqrt(jnp.where(has_direction, squared, 1.0)), 0.0)


def norm(vectors: Array) -> Array:
    """Computes the lengths f32[...] of the rows of f32[...,d], with zero gradient for a row of zeros."""
    squared = jnp.sum(jnp.square(vectors), axis=-1)
    is_zero = squared == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))
