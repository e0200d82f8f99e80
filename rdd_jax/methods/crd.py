"""Contrastive Representation Distillation (Tian et al. 2020)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import keys_for_local_rows
from rdd_jax.core.types import Array, Distiller
from rdd_jax.losses.contrastive import all_scores, nce
from rdd_jax.memory import MemoryBank, init_bank
from rdd_jax.methods._contrastive import check_labels, check_options, project, settle_normalizer, update_bank
from rdd_jax.methods._projections import init_head


class CrdState(NamedTuple):
    """The bank and the two normalisers Z f32[], 0 until the first batch."""

    bank: MemoryBank
    student_normalizer: Array
    teacher_normalizer: Array


def crd(
    training_labels: np.ndarray,
    *,
    dim: int = 128,
    num_negatives: int = 16384,
    temperature: float = 0.07,
    momentum: float = 0.5,
) -> Distiller:
    """Contrasts each image with itself in the other network's bank, against images of other classes. Weight 0.8.

    Negatives are drawn with replacement. RepDistiller draws without replacement where the other classes have K images
    or more, as those of CIFAR-100 have: the same expected loss, with a little less variance.

    Args:
        training_labels: i32[N], the labels of the whole training set: it sizes the bank and tells the classes apart.
        dim: d of the projected unit vectors.
        num_negatives: K, drawn for every anchor.
        temperature: T of exp(q . v / T).
        momentum: share of the old vector kept in the bank.

    Raises:
        ValueError: for an impossible option, or where there is but one class.
    """
    check_options("crd", dim=dim, num_negatives=num_negatives, temperature=temperature, momentum=momentum)
    labels = check_labels("crd", training_labels)
    num_examples = len(labels)
    draw = _other_class_sampler(labels, num_negatives)

    def init(rng, student_shapes, teacher_shapes):
        student_rng, teacher_rng, bank_rng = jax.random.split(rng, 3)
        params = {
            "student": init_head(student_rng, student_shapes.embedding.shape[-1], dim),
            "teacher": init_head(teacher_rng, teacher_shapes.embedding.shape[-1], dim),
        }
        return params, CrdState(init_bank(bank_rng, num_examples, dim), jnp.zeros(()), jnp.zeros(()))

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        ours = project(params["student"], student.embedding)
        theirs = project(params["teacher"], jax.lax.stop_gradient(teacher.embedding))
        negatives = draw(keys_for_local_rows(rng, len(batch.indices), axis_name), batch.labels)
        # All rows of the bank, weighted by how often they were drawn: no gathers, whose gradients would be scatters.
        itself = jax.nn.one_hot(batch.indices, num_examples)
        counts = jnp.zeros_like(itself).at[jnp.arange(len(negatives))[:, None], negatives].add(1.0)

        def direction(queries, bank, normalizer):
            scores = all_scores(queries, bank, temperature)
            normalizer = settle_normalizer(normalizer, scores, itself + counts, num_examples, axis_name)
            probabilities = scores / normalizer
            value = nce(
                jnp.take_along_axis(probabilities, batch.indices[:, None], axis=1)[:, 0],
                probabilities,
                num_examples=num_examples,
                num_negatives=num_negatives,
                negative_weights=counts,
            )
            return value, normalizer

        student_loss, student_normalizer = direction(ours, state.bank.teacher, state.student_normalizer)
        teacher_loss, teacher_normalizer = direction(theirs, state.bank.student, state.teacher_normalizer)
        bank = update_bank(state.bank, batch, ours, theirs, momentum, axis_name)
        metrics = {"agreement": jnp.mean(jnp.sum(ours * theirs, axis=1))}
        return student_loss + teacher_loss, (CrdState(bank, student_normalizer, teacher_normalizer), metrics)

    return Distiller(init, loss)


def _other_class_sampler(labels: np.ndarray, num_negatives: int):
    """-> (keys key[b], labels i32[b]) -> i32[b,num_negatives], uniform over the examples of other classes.

    With the examples in the order of their classes, one class is one gap: a draw from the rest steps over it.
    """
    counts = np.bincount(labels)
    if np.count_nonzero(counts) < 2:
        raise ValueError("crd: negatives come from other classes, but all training labels are the same")
    order = np.argsort(labels, kind="stable").astype(np.int32)
    starts = (np.cumsum(counts) - counts).astype(np.int32)
    counts = counts.astype(np.int32)

    def draw_row(key, label):
        start, count = jnp.asarray(starts)[label], jnp.asarray(counts)[label]
        places = jax.random.randint(key, (num_negatives,), 0, len(order) - count)
        return jnp.asarray(order)[jnp.where(places < start, places, places + count)]

    return jax.vmap(draw_row)
