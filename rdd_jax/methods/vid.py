"""Variational Information Distillation (Ahn et al. 2019): the student's maps shall tell the teacher's."""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.types import Array, Distiller
from rdd_jax.losses.features import match_sizes, variational_information
from rdd_jax.methods._feature_pairs import paired_maps
from rdd_jax.methods._projections import Head, init_head, linear

_LEAST_VARIANCE = 1e-5


def vid(*, initial_variance: float = 5.0) -> Distiller:
    """For each pair of maps, a Gaussian whose mean is three 1x1 convolutions of the student's map. Weight 1.

    Args:
        initial_variance: of every channel of the teacher, before it is trained.

    Raises:
        ValueError: where the variance is not above 1e-5, below which none may fall.
    """
    if not initial_variance > _LEAST_VARIANCE:
        raise ValueError(f"vid: initial_variance must be above {_LEAST_VARIANCE}; got {initial_variance}")

    def init(rng, student_shapes, teacher_shapes):
        pairs = paired_maps(student_shapes, teacher_shapes)
        return {
            f"map{place}": _init_gaussian(key, ours.shape[-1], theirs.shape[-1], initial_variance)
            for place, (key, (ours, theirs)) in enumerate(zip(jax.random.split(rng, len(pairs)), pairs, strict=True))
        }, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        total = jnp.zeros(())
        for place, maps in enumerate(paired_maps(student, teacher)):
            ours, theirs = match_sizes(*maps)
            gaussian = params[f"map{place}"]
            variance = jax.nn.softplus(gaussian["raw_variance"]) + _LEAST_VARIANCE
            total += variational_information(_mean(gaussian["regressor"], ours), variance, theirs)
        return total, (state, {})

    return Distiller(init, loss, needs_feature_maps=True)


def _init_gaussian(rng: Array, inputs: int, outputs: int, variance: float) -> dict[str, Head | Array]:
    widths = (inputs, outputs, outputs, outputs)
    regressor = {
        f"conv{place}": init_head(key, *widths[place : place + 2], use_bias=False)
        for place, key in enumerate(jax.random.split(rng, 3))
    }
    # Softplus turned round: the variance stays above 0 however it is trained.
    excess = variance - _LEAST_VARIANCE
    raw = excess + np.log(-np.expm1(-excess))
    return {"regressor": regressor, "raw_variance": jnp.full((outputs,), raw, jnp.float32)}


def _mean(regressor: dict[str, Head], student_map: Array) -> Array:
    hidden = jax.nn.relu(linear(regressor["conv0"], student_map))
    hidden = jax.nn.relu(linear(regressor["conv1"], hidden))
    return linear(regressor["conv2"], hidden)
