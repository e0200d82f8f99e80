"""FitNets (Romero et al. 2015): the student's map, adapted by a trained 1x1 convolution, shall be the teacher's."""

from rdd_jax.losses.feature import hint, match_sizes
from rdd_jax.methods.heads import init_head, linear
from rdd_jax.types import Array, Distiller, Outputs


def fitnets(*, layer: int = 2) -> Distiller:
    """Hints at one layer, in one stage: the adapter and the student train together, as RepDistiller does. Weight 100.

    Args:
        layer: which of the maps of either network, 0 the stem's.

    Raises:
        ValueError: for a negative layer; and from `init`, for one that a network has not.
    """
    if layer < 0:
        raise ValueError(f"fitnets: layer must not be negative; got {layer}")

    def chosen(outputs: Outputs) -> Array:
        maps = outputs[1].maps
        if layer >= len(maps):
            raise ValueError(f"fitnets: layer must be below {len(maps)}, the maps of the network; got {layer}")
        return maps[layer]

    def init(rng, student_shapes, teacher_shapes):
        return init_head(rng, chosen(student_shapes).shape[-1], chosen(teacher_shapes).shape[-1]), {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        ours, theirs = match_sizes(chosen(student), chosen(teacher))
        return hint(linear(params, ours), theirs), (state, {})

    return Distiller(init, loss)
