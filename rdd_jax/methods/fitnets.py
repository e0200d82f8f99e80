"""FitNets (Romero et al. 2015): regression of the teacher's feature map from the student's by a 1x1 convolution."""

import jax
import jax.numpy as jnp

from rdd_jax.core.collectives import mean_over_devices
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses.features import hint, match_sizes
from rdd_jax.methods._linear import apply_linear, init_linear
from rdd_jax.methods.registry import register


@register
def fitnets(*, layer: int = 2) -> Distiller:
    """Matches one feature map by an adapter that is trained together with the student.

    As in RepDistiller, there is one stage of training, and batch norm follows the convolution; without it training at
    that weight diverges. RepDistiller's ReLU after it is left out, because the maps of some networks are not rectified.

    Args:
        layer: the index of the feature map in both networks, 0 for the stem.

    Raises:
        ValueError: for a negative layer; `init` raises it for a layer that a network does not have.
    """
    if layer < 0:
        raise ValueError(f"fitnets: layer must not be negative; got {layer}")

    def feature_map(output: ModelOutput) -> Array:
        maps = output.feature_maps
        if layer >= len(maps):
            raise ValueError(f"fitnets: layer must be below {len(maps)}, the maps of the network; got {layer}")
        return maps[layer]

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, State]:
        width = feature_map(teacher_shapes).shape[-1]
        conv = init_linear(rng, feature_map(student_shapes).shape[-1], width, use_bias=False)
        return {"conv": conv, "norm": {"scale": jnp.ones((width,)), "bias": jnp.zeros((width,))}}, {}

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
        student_map, teacher_map = match_sizes(feature_map(student), feature_map(teacher))
        adapted = _batch_norm(params["norm"], apply_linear(params["conv"], student_map), axis_name)
        return hint(adapted, teacher_map), (state, {})

    return Distiller(init, loss, needs_feature_maps=True)


def _batch_norm(params: dict[str, Array], x: Array, axis_name: str | None) -> Array:
    """Normalises f32[b,h,w,c] by the global batch, without running statistics: the adapter is for training only."""
    centered = x - mean_over_devices(jnp.mean(x, axis=(0, 1, 2)), axis_name)
    variance = mean_over_devices(jnp.mean(jnp.square(centered), axis=(0, 1, 2)), axis_name)
    return centered * jax.lax.rsqrt(variance + 1e-5) * params["scale"] + params["bias"]
