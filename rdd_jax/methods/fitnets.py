"""FitNets (Romero et al. 2015): the student's map, adapted by a trained 1x1 convolution, shall be the teacher's."""

import jax
import jax.numpy as jnp

from rdd_jax.core.collectives import mean_over_devices
from rdd_jax.core.types import Array, Distiller, ModelOutput
from rdd_jax.losses.features import hint, match_sizes
from rdd_jax.methods._projections import init_head, linear


def fitnets(*, layer: int = 2) -> Distiller:
    """Hints at one layer, in one stage: the adapter and the student train together, as RepDistiller does. Weight 100.

    As there, batch norm follows the convolution: without it training at that weight diverges. RepDistiller's ReLU is
    left out, as the maps of some networks are not rectified.

    Args:
        layer: which of the maps of either network, 0 the stem's.

    Raises:
        ValueError: for a negative layer; and from `init`, for one that a network has not.
    """
    if layer < 0:
        raise ValueError(f"fitnets: layer must not be negative; got {layer}")

    def chosen(outputs: ModelOutput) -> Array:
        maps = outputs.feature_maps
        if layer >= len(maps):
            raise ValueError(f"fitnets: layer must be below {len(maps)}, the maps of the network; got {layer}")
        return maps[layer]

    def init(rng, student_shapes, teacher_shapes):
        width = chosen(teacher_shapes).shape[-1]
        conv = init_head(rng, chosen(student_shapes).shape[-1], width, use_bias=False)
        return {"conv": conv, "norm": {"scale": jnp.ones((width,)), "bias": jnp.zeros((width,))}}, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        ours, theirs = match_sizes(chosen(student), chosen(teacher))
        adapted = _batch_norm(params["norm"], linear(params["conv"], ours), axis_name)
        return hint(adapted, theirs), (state, {})

    return Distiller(init, loss, needs_feature_maps=True)


def _batch_norm(norm: dict[str, Array], x: Array, axis_name: str | None) -> Array:
    """f32[b,h,w,c] by the mean and variance of the global batch; none are kept: nothing is adapted after training."""
    centered = x - mean_over_devices(jnp.mean(x, axis=(0, 1, 2)), axis_name)
    variance = mean_over_devices(jnp.mean(jnp.square(centered), axis=(0, 1, 2)), axis_name)
    return centered * jax.lax.rsqrt(variance + 1e-5) * norm["scale"] + norm["bias"]
