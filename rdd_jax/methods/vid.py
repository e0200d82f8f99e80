"""Variational Information Distillation (Ahn et al. 2019): the mutual information of feature maps, bounded below."""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses.features import match_sizes, variational_information
from rdd_jax.methods._feature_pairs import pair_feature_maps
from rdd_jax.methods._linear import LinearParams, apply_linear, init_linear
from rdd_jax.methods.registry import register

_MIN_VARIANCE = 1e-5


@register
def vid(*, initial_variance: float = 5.0) -> Distiller:
    """Likelihood of the teacher's maps under Gaussians predicted from the student's maps.

    The mean of a Gaussian is a network of three 1x1 convolutions; its variances, one per channel, are trained too.

    Args:
        initial_variance: of every channel.

    Raises:
        ValueError: if the variance is not above 1e-5, the lower bound of the trained variances.
    """
    if not initial_variance > _MIN_VARIANCE:
        raise ValueError(f"vid: initial_variance must be above {_MIN_VARIANCE}; got {initial_variance}")

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, State]:
        pairs = pair_feature_maps(student_shapes, teacher_shapes)
        keys = jax.random.split(rng, len(pairs))
        return {
            f"map{i}": _init_gaussian(key, student_map.shape[-1], teacher_map.shape[-1], initial_variance)
            for i, (key, (student_map, teacher_map)) in enumerate(zip(keys, pairs, strict=True))
        }, {}

    def loss(
        params: Params,
        state: State,
        student: ModelOutput,
        teacher: ModelOutput,
        batch: Batch,
        *,
        rng: Array,
        axis_name: str | None = None,
    ) -> tuple[Array, tuple[State, Metrics]]:
        total = jnp.zeros(())
        for i, maps in enumerate(pair_feature_maps(student, teacher)):
            student_map, teacher_map = match_sizes(*maps)
            gaussian = params[f"map{i}"]
            variance = jax.nn.softplus(gaussian["raw_variance"]) + _MIN_VARIANCE
            mean = _predict_mean(gaussian["regressor"], student_map)
            total += variational_information(mean, variance, teacher_map)
        return total, (state, {})

    return Distiller(init, loss, needs_feature_maps=True)


def _init_gaussian(rng: Array, inputs: int, outputs: int, variance: float) -> Params:
    """Initialises the convolutions of the mean and the raw variance f32[outputs] of one pair of maps."""
    widths = (inputs, outputs, outputs, outputs)
    regressor = {
        f"conv{i}": init_linear(key, *widths[i : i + 2], use_bias=False)
        for i, key in enumerate(jax.random.split(rng, 3))
    }
    # The inverse of softplus, which keeps the variance above the minimum in training.
    excess = variance - _MIN_VARIANCE
    raw_variance = excess + np.log(-np.expm1(-excess))
    return {"regressor": regressor, "raw_variance": jnp.full((outputs,), raw_variance, jnp.float32)}


def _predict_mean(regressor: dict[str, LinearParams], student_map: Array) -> Array:
    """Maps f32[b,h,w,inputs] to f32[b,h,w,outputs]."""
    hidden = jax.nn.relu(apply_linear(regressor["conv0"], student_map))
    hidden = jax.nn.relu(apply_linear(regressor["conv1"], hidden))
    return apply_linear(regressor["conv2"], hidden)
