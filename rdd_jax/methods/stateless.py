"""Methods that are a pure loss of what student and teacher show for a batch."""

from collections.abc import Callable

import jax.numpy as jnp

from rdd_jax.collectives import all_gather
from rdd_jax.losses import feature, logits, relational
from rdd_jax.methods.maps import paired_maps
from rdd_jax.types import Array, Batch, Distiller, Outputs


def stateless(fn: Callable[..., Array]) -> Distiller:
    """Lifts a pure loss (student: Outputs, teacher: Outputs, batch: Batch, axis_name) -> f32[] to a Distiller."""

    def init(rng, student_shapes, teacher_shapes):
        return {}, {}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return fn(student, teacher, batch, axis_name), (state, {})

    return Distiller(init, loss)


def ce() -> Distiller:
    """Cross-entropy with the labels: no distillation. The `gamma` term of `gamma*L_CE + alpha*L_KD + beta*L_RDD`."""

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return logits.cross_entropy(student[0], batch.labels)

    return stateless(loss)


def kd(*, temperature: float = 4.0) -> Distiller:
    """Knowledge distillation (Hinton et al. 2015): the teacher's softened predictions. The recipe weighs it 0.9."""
    if not temperature > 0:
        raise ValueError(f"kd: temperature must be above 0; got {temperature}")

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return logits.distillation_kl(student[0], teacher[0], temperature)

    return stateless(loss)


def at(*, power: int = 2) -> Distiller:
    """Attention transfer (Zagoruyko & Komodakis 2017), summed over the maps after the stem. Weight 1000.

    Raises:
        ValueError: for a power that is odd, which would let signs cancel, or below 2.
    """
    if power < 2 or power % 2:
        raise ValueError(f"at: power must be even and at least 2; got {power}")

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return sum(feature.attention_transfer(*maps, power=power) for maps in paired_maps(student, teacher))

    return stateless(loss)


def nst() -> Distiller:
    """Neuron selectivity transfer (Huang & Wang 2017), summed over the maps after the stem. Weight 50."""

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return sum(feature.neuron_selectivity(*maps) for maps in paired_maps(student, teacher))

    return stateless(loss)


def pkt() -> Distiller:
    """Probabilistic knowledge transfer (Passalis & Tefas 2018) on the embeddings of the global batch. Weight 30000."""

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        return relational.probabilistic_transfer(*_global_embeddings(student, teacher, axis_name))

    return stateless(loss)


def sp() -> Distiller:
    """Similarity-preserving distillation (Tung & Mori 2019) on the last maps of the global batch. Weight 3000."""

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        maps = (all_gather(outputs[1].maps[-1], axis_name) for outputs in (student, teacher))
        return relational.similarity_preserving(*(x.astype(jnp.float32) for x in maps))

    return stateless(loss)


def rkd(*, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Distiller:
    """Relational knowledge distillation (Park et al. 2019) on the embeddings of the global batch.

    A weight of 0 leaves its half out: the distance-only and the angle-only form.
    """
    if not (distance_weight >= 0 and angle_weight >= 0 and distance_weight + angle_weight > 0):
        raise ValueError(
            f"rkd: weights must not be negative, and one above 0; got {distance_weight} and {angle_weight}"
        )

    def loss(student: Outputs, teacher: Outputs, batch: Batch, axis_name: str | None) -> Array:
        ours, theirs = _global_embeddings(student, teacher, axis_name)
        total = jnp.zeros(())
        if distance_weight:
            total += distance_weight * relational.rkd_distance(ours, theirs)
        if angle_weight:
            total += angle_weight * relational.rkd_angle(ours, theirs)
        return total

    return stateless(loss)


def _global_embeddings(student: Outputs, teacher: Outputs, axis_name: str | None) -> list[Array]:
    """f32[b,ds] and f32[b,dt], of the batch of all devices."""
    return [all_gather(outputs[1].embedding, axis_name).astype(jnp.float32) for outputs in (student, teacher)]
