"""Correlation Congruence (Peng et al. 2019), in RepDistiller's form: trained projections of both embeddings."""

import jax

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Distiller
from rdd_jax.losses.relational import correlation_congruence
from rdd_jax.methods._projections import init_head, linear


def cc(*, dim: int = 128) -> Distiller:
    """The errors of the projections of neighbours in the global batch shall not go together. Weight 0.02.

    Args:
        dim: of the projections.

    Raises:
        ValueError: where `dim` is below 1.
    """
    if dim < 1:
        raise ValueError(f"cc: dim must be at least 1; got {dim}")

    def init(rng, student_shapes, teacher_shapes):
        student_rng, teacher_rng = jax.random.split(rng)
        return {
            "student": init_head(student_rng, student_shapes.embedding.shape[-1], dim),
            "teacher": init_head(teacher_rng, teacher_shapes.embedding.shape[-1], dim),
        }, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        ours = all_gather(linear(params["student"], student.embedding), axis_name)
        fixed = jax.lax.stop_gradient(teacher.embedding)
        theirs = all_gather(linear(params["teacher"], fixed), axis_name)
        return correlation_congruence(ours, theirs), (state, {})

    return Distiller(init, loss)
