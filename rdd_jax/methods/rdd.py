"""Representational Difference Distillation (Irakiza & Mugisha 2026): RDX chooses what is contrasted."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax import rdx
from rdd_jax.core.types import Array, Batch, Distiller
from rdd_jax.losses.contrastive import bank_scores, nce, products
from rdd_jax.memory import MemoryBank, init_bank
from rdd_jax.methods._contrastive import (
    check_candidates,
    check_embeddings,
    check_labels,
    check_mining,
    check_options,
    draw_candidates,
    project,
    settle_normalizer,
    update_bank,
)
from rdd_jax.methods._projections import Head, init_head


class RddState(NamedTuple):
    """What RDD carries: the bank, the mined table, the normalisers Z f32[] (0 until the first batch), fixed heads."""

    bank: MemoryBank
    table: rdx.ContrastTable
    student_normalizer: Array
    teacher_normalizer: Array
    fixed_heads: dict[str, Head]


class _Contrast(NamedTuple):
    """What a batch is contrasted with: rows of the bank, and how many draws each negative stands for.

    positive: i32[b]. hard: i32[b,pool]. uniform: i32[u], shared by the batch. weights: f32[b,pool+u].
    """

    positive: Array
    hard: Array
    uniform: Array
    weights: Array


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
    """CRD-style contrast whose positives, negatives and anchor weights come from the mined table. Weight 0.8.

    Until the first refresh an image is its own positive and its pool is random. Each hard negative of the pool is
    weighted by the number of draws, of K in all, that it gets on average: the loss of 16,384 draws from 1,024 rows,
    without the draws. The uniform negatives are drawn anew every step and shared by the batch. Draws of the anchor
    itself or of its positive do not count, neither in the loss nor in the noise ratio q.

    The paper's text leaves open what follows; this is how it is read here (docs/rdd.md has what was measured of it):
    - The confusion c_i is the mean of A01 + A10, as in the authors' release. It is 2 where the models agree, and with
      beta = 0.8 hardly more elsewhere, so that the anchors weigh nearly the same. gamma and beta act through these
      weights alone, as selection goes by the rank difference before gamma: without `anchor_weighting` they change
      nothing.
    - Figure 1 "weights negatives by A10". Here A10 selects the pool, and all rows of a pool weigh the same.
    - Hard negatives may be of the anchor's class, as in the release.
    - The teacher's head is a fixed random projection of embeddings that are not centred, as in the release, unless
      `both_directions` trains it.

    Args:
        training_labels: i32[N], the labels of the whole training set.
        dim: d of the projected unit vectors.
        num_negatives: K, negatives an anchor, hard and uniform together.
        pool_size: hard negatives an example in the table.
        uniform_negatives: share of the K that come from the whole bank, in [0, 1] (the authors' release: 0).
        temperature: T of exp(q . v / T).
        momentum: share of the old vector kept in the bank.
        gamma: sharpness of the rank difference, for the anchor weights.
        beta: sharpness of the affinities, for the anchor weights (the authors' release: 5).
        positives: "a01", the teacher-unique neighbour, or "self", the image itself.
        anchor_weighting: whether an anchor counts by its confusion over the mean (no effect in the authors' release).
        both_directions: whether the teacher's projections are contrasted with the student's bank as well, which
            trains the teacher's head; otherwise that head stays as it started.
        same_class_negatives: whether images of the anchor's class may be negatives.
        block_size: rows mined at a time.
        candidates: how many images, drawn anew at each refresh, alone are ranked and selected; 0: all. Mining costs
            N * candidates instead of N * N. More than pool_size.

    Raises:
        ValueError: for an impossible option.
    """
    check_options("rdd", dim=dim, num_negatives=num_negatives, temperature=temperature, momentum=momentum)
    labels = check_labels("rdd", training_labels)
    num_examples = len(labels)
    check_mining("rdd", gamma=gamma, beta=beta, block_size=block_size)
    _check(num_examples, pool_size, uniform_negatives, positives)
    check_candidates("rdd", candidates, least=pool_size + 1, num_examples=num_examples)
    num_uniform = round(num_negatives * uniform_negatives)
    draws_per_negative = np.ones(pool_size + num_uniform, np.float32)
    draws_per_negative[:pool_size] = (num_negatives - num_uniform) / pool_size

    def init(rng, student_shapes, teacher_shapes):
        student_rng, teacher_rng, bank_rng, table_rng = jax.random.split(rng, 4)
        trained = {"student": init_head(student_rng, student_shapes.embedding.shape[-1], dim)}
        # A head without a gradient must not stand among the parameters: the optimizer would decay it away.
        teacher_head = {"teacher": init_head(teacher_rng, teacher_shapes.embedding.shape[-1], dim)}
        fixed = {} if both_directions else teacher_head
        bank = init_bank(bank_rng, num_examples, dim)
        table = _starting_table(table_rng, num_examples, pool_size)
        params = trained | teacher_head if both_directions else trained
        return params, RddState(bank, table, jnp.zeros(()), jnp.zeros(()), fixed)

    def draw(table: rdx.ContrastTable, batch: Batch, rng: Array) -> _Contrast:
        positive = table.positives[batch.indices] if positives == "a01" else batch.indices
        hard = table.negatives[batch.indices]
        uniform = jax.random.randint(rng, (num_uniform,), 0, num_examples)
        drawn = jnp.concatenate([hard, jnp.broadcast_to(uniform, (len(hard), num_uniform))], axis=1)
        allowed = (drawn != batch.indices[:, None]) & (drawn != positive[:, None])
        if not same_class_negatives:
            allowed &= jnp.asarray(labels)[drawn] != batch.labels[:, None]
        return _Contrast(positive, hard, uniform, allowed * draws_per_negative)

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        heads = params | state.fixed_heads
        ours = project(heads["student"], student.embedding)
        theirs = project(heads["teacher"], jax.lax.stop_gradient(teacher.embedding))
        drawn = draw(state.table, batch, rng)
        direction = partial(
            _direction_loss,
            drawn=drawn,
            anchor_weights=state.table.confusion[batch.indices] if anchor_weighting else None,
            temperature=temperature,
            axis_name=axis_name,
        )
        value, student_normalizer, metrics = direction(ours, state.bank.teacher, state.student_normalizer)
        teacher_normalizer = state.teacher_normalizer
        if both_directions:
            other, teacher_normalizer, _ = direction(theirs, state.bank.student, teacher_normalizer)
            value += other
        bank = update_bank(state.bank, batch, ours, theirs, momentum, axis_name)
        state = state._replace(bank=bank, student_normalizer=student_normalizer, teacher_normalizer=teacher_normalizer)
        return value, (state, metrics)

    def refresh(state, student_embeddings, teacher_embeddings, rng, *, axis_name=None):
        check_embeddings("rdd", student_embeddings, teacher_embeddings, num_examples)
        table = rdx.mine(
            student_embeddings,
            teacher_embeddings,
            gamma=gamma,
            beta=beta,
            pool_size=pool_size,
            candidates=draw_candidates(rng, num_examples, candidates),
            block_size=block_size,
            axis_name=axis_name,
        )
        return state._replace(table=table)

    return Distiller(init, loss, refresh, histograms=lambda state: {"confusion": state.table.confusion})


def _direction_loss(
    queries: Array,
    bank: Array,
    normalizer: Array,
    *,
    drawn: _Contrast,
    anchor_weights: Array | None,
    temperature: float,
    axis_name: str | None,
) -> tuple[Array, Array, dict[str, Array]]:
    """One direction: the loss f32[] of queries f32[b,d] against a bank f32[N,d], its normaliser, its metrics."""
    num_examples, pool_size = len(bank), drawn.hard.shape[1]
    positive, negatives = _scores(queries, bank, drawn, temperature)
    scores = jnp.concatenate([positive[:, None], negatives], axis=1)
    counts = jnp.pad(drawn.weights, ((0, 0), (1, 0)), constant_values=1.0)
    normalizer = settle_normalizer(normalizer, scores, counts, num_examples, axis_name)
    value = nce(
        positive / normalizer,
        negatives / normalizer,
        num_examples=num_examples,
        # The draws that are left after those that may not be negatives. One at least, as q must not be 0.
        num_negatives=jnp.maximum(jnp.sum(drawn.weights, axis=1), 1.0),
        negative_weights=drawn.weights,
        anchor_weights=anchor_weights,
        axis_name=axis_name,
    )
    # The cosines, had from the scores without a second look into the bank.
    metrics = {
        "positive_similarity": temperature * jnp.mean(jnp.log(positive)),
        "hard_negative_similarity": temperature * jnp.mean(jnp.log(negatives[:, :pool_size])),
    }
    return value, normalizer, metrics


def _scores(queries: Array, bank: Array, drawn: _Contrast, temperature: float) -> tuple[Array, Array]:
    """exp(q . v / temperature) of queries f32[b,d]: positives f32[b] and negatives f32[b,pool+u]."""
    near = bank_scores(queries, bank, jnp.concatenate([drawn.positive[:, None], drawn.hard], axis=1), temperature)
    far = jnp.exp(products(queries, bank[drawn.uniform]) / temperature)
    return near[:, 0], jnp.concatenate([near[:, 1:], far], axis=1)


def _starting_table(rng: Array, num_examples: int, pool_size: int) -> rdx.ContrastTable:
    """The table before anything is mined: each image its own positive, a random pool without itself, equal weights."""
    itself = jnp.arange(num_examples, dtype=jnp.int32)
    steps = jax.random.randint(rng, (num_examples, pool_size), 1, num_examples)
    return rdx.ContrastTable(itself, (itself[:, None] + steps) % num_examples, jnp.ones((num_examples,)))


def _check(num_examples: int, pool_size: int, uniform_negatives: float, positives: str) -> None:
    if not 1 <= pool_size < num_examples:
        raise ValueError(f"rdd: pool_size must be in [1, {num_examples - 1}], below the images; got {pool_size}")
    if not 0 <= uniform_negatives <= 1:
        raise ValueError(f"rdd: uniform_negatives is a share in [0, 1]; got {uniform_negatives}")
    if positives not in ("a01", "self"):
        raise ValueError(f'rdd: positives must be "a01" or "self"; got "{positives}"')
