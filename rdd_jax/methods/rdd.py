"""Representational Difference Distillation (Irakiza & Mugisha 2026): contrastive distillation with mined pairs.

RDX mines, for each image, a positive that the teacher groups with it and the student does not, a pool of hard negatives
that the student over-groups with it, and its confusion, by which it is weighted as an anchor. `docs/rdd.md` compares
this with the authors' release and says how the points are read that the paper leaves open.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax import rdx
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params
from rdd_jax.memory import MemoryBank, init_bank
from rdd_jax.methods._contrastive import check_embeddings, check_labels, draw_candidates, project, update_bank
from rdd_jax.methods._linear import LinearParams, init_linear
from rdd_jax.methods._rdd_contrast import direction_loss, draw_contrast
from rdd_jax.methods._rdd_options import RddOptions
from rdd_jax.methods.registry import register


class RddState(NamedTuple):
    """The state of RDD.

    bank: unit vectors of student and teacher for each training example. The student's are updated and stored, but
        read only with `both_directions`.
    table: the mined contrast table.
    student_partition, teacher_partition: f32[], the partition constants Z of both directions, 0 until the first batch.
    fixed_heads: {"teacher": the teacher's projection}, unless it is trained.
    """

    bank: MemoryBank
    table: rdx.ContrastTable
    student_partition: Array
    teacher_partition: Array
    fixed_heads: dict[str, LinearParams]


@register
def rdd(
    training_labels: np.ndarray,
    *,
    dim: int = 128,
    num_negatives: int = 16384,
    pool_size: int = 1024,
    uniform_negatives: float = 0.5,
    temperature: float = 0.07,
    momentum: float = 0.5,
    gamma: float = 0.1,
    beta: float = 0.8,
    positives: str = "a01",
    anchor_weighting: bool = True,
    both_directions: bool = False,
    same_class_negatives: bool = True,
    block_size: int = 512,
    candidates: int = 0,
) -> Distiller:
    """Contrasts student vectors with teacher vectors of the bank, as CRD, with mined pairs.

    Until the first mining each image is its own positive, its pool is random and all anchors have equal weights.

    Args:
        training_labels: i32[N], the labels of the whole training set, -1 for examples without one; only their number
            is used, unless `same_class_negatives` is False.
        dim: d of the projected unit vectors.
        num_negatives: K, the number of negatives of each anchor, hard and uniform together.
        pool_size: the number of hard negatives of each example in the table.
        uniform_negatives: the share of the K that is drawn from the whole bank, in [0, 1] (the authors' release: 0).
        temperature: T of exp(q . v / T).
        momentum: the share of the old vector in an update of the bank.
        gamma: the sharpness of the rank difference, for the anchor weights.
        beta: the sharpness of the affinities, for the anchor weights (the authors' release: 5).
        positives: "a01", the teacher-unique neighbour, or "self", the image itself.
        anchor_weighting: whether an anchor is weighted by its confusion over the mean (without effect in the authors'
            release).
        both_directions: whether teacher vectors are contrasted with the student's bank too, which trains the teacher's
            head.
        same_class_negatives: whether images of the anchor's class may be negatives.
        block_size: the number of rows mined at a time.
        candidates: the number of images, drawn for each mining, among which positives and negatives are mined; more
            than pool_size, or 0 for all images. Mining costs N * candidates instead of N * N.

    Metrics:
        positive_similarity: the mean cosine of an image's student projection with its positive in the teacher's bank.
        hard_negative_similarity: its mean cosine with its hard negatives.

    Raises:
        ValueError: for an impossible option.
    """
    options = RddOptions(
        labels=check_labels("rdd", training_labels, needed=not same_class_negatives),
        dim=dim,
        num_negatives=num_negatives,
        pool_size=pool_size,
        uniform_negatives=uniform_negatives,
        temperature=temperature,
        momentum=momentum,
        gamma=gamma,
        beta=beta,
        positives=positives,
        anchor_weighting=anchor_weighting,
        both_directions=both_directions,
        same_class_negatives=same_class_negatives,
        block_size=block_size,
        candidates=candidates,
    )
    return Distiller(
        init=partial(_init, options),
        loss=partial(_loss, options),
        refresh=partial(_refresh, options),
        histograms=lambda state: {"confusion": state.table.confusion},
        needs_labels=not same_class_negatives,
    )


def _init(
    options: RddOptions, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[Params, RddState]:
    student_rng, teacher_rng, bank_rng, table_rng = jax.random.split(rng, 4)
    student_head = {"student": init_linear(student_rng, student_shapes.embedding.shape[-1], options.dim)}
    teacher_head = {"teacher": init_linear(teacher_rng, teacher_shapes.embedding.shape[-1], options.dim)}
    state = RddState(
        bank=init_bank(bank_rng, options.num_examples, options.dim),
        table=_initial_table(table_rng, options.num_examples, options.pool_size),
        student_partition=jnp.zeros(()),
        teacher_partition=jnp.zeros(()),
        # A head without a gradient must not be among the parameters: weight decay would shrink it.
        fixed_heads={} if options.both_directions else teacher_head,
    )
    return student_head | teacher_head if options.both_directions else student_head, state


def _initial_table(rng: Array, num_examples: int, pool_size: int) -> rdx.ContrastTable:
    """Makes the table for the time before the first mining.

    Each image is its own positive, its pool is random without itself, and all anchors have equal weights.
    """
    indices = jnp.arange(num_examples, dtype=jnp.int32)
    offsets = jax.random.randint(rng, (num_examples, pool_size), 1, num_examples)
    return rdx.ContrastTable(indices, (indices[:, None] + offsets) % num_examples, jnp.ones((num_examples,)))


def _loss(
    options: RddOptions,
    params: Params,
    state: RddState,
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[RddState, Metrics]]:
    heads = params | state.fixed_heads
    student_vectors = project(heads["student"], student.embedding)
    teacher_vectors = project(heads["teacher"], jax.lax.stop_gradient(teacher.embedding))
    direction = partial(
        direction_loss,
        contrast=draw_contrast(options, state.table, batch, rng),
        anchor_weights=state.table.confusion[batch.indices] if options.anchor_weighting else None,
        temperature=options.temperature,
        axis_name=axis_name,
    )
    value, student_partition, metrics = direction(student_vectors, state.bank.teacher, state.student_partition)
    teacher_partition = state.teacher_partition
    if options.both_directions:
        teacher_value, teacher_partition, _ = direction(teacher_vectors, state.bank.student, teacher_partition)
        value += teacher_value
    bank = update_bank(state.bank, batch, student_vectors, teacher_vectors, options.momentum, axis_name)
    state = state._replace(bank=bank, student_partition=student_partition, teacher_partition=teacher_partition)
    return value, (state, metrics)


def _refresh(
    options: RddOptions,
    state: RddState,
    student_embeddings: Array,
    teacher_embeddings: Array | rdx.RankedEmbeddings,
    rng: Array,
    *,
    axis_name: str | None = None,
) -> RddState:
    check_embeddings("rdd", student_embeddings, teacher_embeddings, options.num_examples)
    table = rdx.mine(
        student_embeddings,
        teacher_embeddings,
        gamma=options.gamma,
        beta=options.beta,
        pool_size=options.pool_size,
        candidates=draw_candidates(rng, options.num_examples, options.candidates),
        block_size=options.block_size,
        axis_name=axis_name,
    )
    return state._replace(table=table)
