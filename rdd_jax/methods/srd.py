"""Simple recipe distillation (Miles & Mikolajczyk 2024)."""

from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses import logits, projected
from rdd_jax.methods._global_batch import global_embeddings
from rdd_jax.methods._linear import apply_linear, init_linear
from rdd_jax.methods.registry import register


@register
def srd(*, exponent: float = 4.0, feature_weight: float = 2.0, logit_weight: float = 1.0) -> Distiller:
    """Simple recipe distillation (SRD, Miles & Mikolajczyk 2024): normalised embeddings and predictions.

    A linear projection of the student's embedding is trained with it. Projection and teacher's embedding are normalised
    over the global batch.

    Args:
        exponent: of the distances between the entries of the embeddings, at least 1.
        feature_weight: of the logarithm of the summed distances, above 0.
        logit_weight: of the KL divergence of the predictions at temperature 1; 0 leaves it out.

    Raises:
        ValueError: if a value is out of its range.
    """
    if not (exponent >= 1 and feature_weight > 0 and logit_weight >= 0):
        raise ValueError(
            "srd: exponent must be at least 1, feature_weight above 0, logit_weight not negative; got "
            f"{exponent}, {feature_weight} and {logit_weight}"
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
        features = projected.log_distance(apply_linear(params, student_embedding), teacher_embedding, exponent)
        divergence = logits.distillation_kl(student.logits, teacher.logits, 1.0)
        return feature_weight * features + logit_weight * divergence, (state, {})

    return Distiller(init, loss)
