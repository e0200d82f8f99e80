"""Correlation Congruence (Peng et al. 2019), in RepDistiller's form: trained projections of both embeddings."""

import jax

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses.relational import correlation_congruence
from rdd_jax.methods._linear import apply_linear, init_linear
from rdd_jax.methods.registry import register


@register
def cc(*, dim: int = 128) -> Distiller:
    """Penalises the product of the projection errors of consecutive examples in the global batch.

    Args:
        dim: the dimension of the projections.

    Raises:
        ValueError: if `dim` is below 1.
    """
    if dim < 1:
        raise ValueError(f"cc: dim must be at least 1; got {dim}")

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, State]:
        student_rng, teacher_rng = jax.random.split(rng)
        return {
            "student": init_linear(student_rng, student_shapes.embedding.shape[-1], dim),
            "teacher": init_linear(teacher_rng, teacher_shapes.embedding.shape[-1], dim),
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
        student_projections = all_gather(apply_linear(params["student"], student.embedding), axis_name)
        teacher_embedding = jax.lax.stop_gradient(teacher.embedding)
        teacher_projections = all_gather(apply_linear(params["teacher"], teacher_embedding), axis_name)
        return correlation_congruence(student_projections, teacher_projections), (state, {})

    return Distiller(init, loss)
