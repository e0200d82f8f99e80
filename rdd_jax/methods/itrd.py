"""Information theoretic representation distillation (Miles et al. 2022)."""

import jax.numpy as jnp

from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses import projected
from rdd_jax.methods._global_batch import global_embeddings
from rdd_jax.methods._linear import apply_linear, init_linear
from rdd_jax.methods.registry import register


@register
def itrd(*, correlation_weight: float = 2.0, mutual_weight: float = 1.0, alpha: float = 1.5) -> Distiller:
    """Information theoretic representation distillation (ITRD, Miles et al. 2022) on embeddings of the global batch.

    A linear projection of the student's embedding is trained with it. As in the release, the Gram matrices are of the
    projections only if the embeddings have different widths.

    Args:
        correlation_weight: of the loss of the features' correlations; 0 leaves it out.
        mutual_weight: of the loss of the mutual information by Gram matrices; 0 leaves it out.
        alpha: the order of Rényi's entropy in the loss of correlations, above 0. The release has 1.5, and 1.01 in its
            example.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (correlation_weight >= 0 and mutual_weight >= 0 and correlation_weight + mutual_weight > 0 and alpha > 0):
        raise ValueError(
            "itrd: weights must not be negative, and one above 0, alpha above 0; got "
            f"{correlation_weight}, {mutual_weight} and {alpha}"
        )

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, State]:
        # A bias would be subtracted by the normalisation.
        widths = student_shapes.embedding.shape[-1], teacher_shapes.embedding.shape[-1]
        return init_linear(rng, *widths, use_bias=False), {}

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
        student_embedding, teacher_embedding = global_embeddings(student, teacher, axis_name)
        projection = apply_linear(params, student_embedding)
        total = jnp.zeros(())
        if correlation_weight:
            total += correlation_weight * projected.log_decorrelation(projection, teacher_embedding, alpha)
        if mutual_weight:
            compared = student_embedding if student_embedding.shape == teacher_embedding.shape else projection
            total += mutual_weight * projected.mutual_information(compared, teacher_embedding)
        return total, (state, {})

    return Distiller(init, loss)
