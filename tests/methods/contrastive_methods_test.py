"""The contrastive methods contrast what they say they do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import MEMORY
from tiny import BATCH, EMBEDDINGS, EXAMPLES, LABELS, SMALL, STUDENT, TEACHER, compiled, create, start

from rdd_jax import methods, rdx
from rdd_jax.core.types import Batch
from rdd_jax.losses.contrastive import bank_scores, nce, relational_contrast
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.memory import FifoQueue, momentum_update
from rdd_jax.methods._contrastive import project
from rdd_jax.methods.crd import _other_class_sampler
from rdd_jax.methods.rrd import RrdState

assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def value_of(distiller, params, state, **arguments):
    return compiled(distiller)(params, state, **arguments)[0]


# CRD.


def test_crd_negatives_are_uniform_over_the_other_classes():
    labels = np.array([2, 0, 2, 1, 2, 0, 4])  # Unequal classes, out of order, and none of class 3.
    draws = _other_class_sampler(labels, 4000)(jax.random.split(jax.random.key(0), 7), labels)
    for row, label in zip(np.asarray(draws), labels, strict=True):
        counts = np.bincount(row, minlength=7)
        others = labels != label
        assert not counts[~others].any()
        np.testing.assert_allclose(counts[others] / 4000, 1 / others.sum(), atol=0.04)  # Five sigma.


def test_crd_equals_the_formula_in_numpy():
    """Both directions, every anchor against its own draws from the other network's bank."""
    distiller = create("crd")
    params, state = start(distiller)
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(np.arange(len(BATCH.indices)))
    negatives = _other_class_sampler(LABELS, SMALL["num_negatives"])(keys, BATCH.labels)
    rows = np.concatenate([BATCH.indices[:, None], negatives], axis=1)
    total = 0.0
    for side, outputs, bank in (("student", STUDENT, state.bank.teacher), ("teacher", TEACHER, state.bank.student)):
        scores = bank_scores(project(params[side], outputs.embedding), bank, rows, 0.07)
        scores = scores / (scores.mean() * EXAMPLES)
        total += nce(scores[:, 0], scores[:, 1:], num_examples=EXAMPLES)
    assert_close(value_of(distiller, params, state), total)


def test_crd_moves_the_rows_of_the_batch():
    distiller = create("crd")
    params, state = start(distiller)
    after = compiled(distiller)(params, state)[2]
    for network, side in (("student", STUDENT), ("teacher", TEACHER)):
        before, bank = (np.array(getattr(x.bank, network)) for x in (state, after))
        before[BATCH.indices] = l2_normalize(
            0.5 * before[BATCH.indices] + 0.5 * project(params[network], side.embedding)
        )
        assert_close(bank, before)


# RDD.


def test_rdd_before_and_after_the_refresh():
    distiller = create("rdd")
    _, state = start(distiller)
    indices = np.arange(EXAMPLES)
    np.testing.assert_array_equal(state.table.positives, indices)
    assert state.table.negatives.shape == (EXAMPLES, SMALL["pool_size"])
    assert (state.table.negatives != indices[:, None]).all()
    assert ((state.table.negatives >= 0) & (state.table.negatives < EXAMPLES)).all()
    assert np.ptp(state.table.confusion) == 0

    refreshed = distiller.refresh(state, *EMBEDDINGS, None)
    expected = rdx.mine(*EMBEDDINGS, gamma=0.1, beta=0.8, pool_size=SMALL["pool_size"])
    jax.tree.map(np.testing.assert_array_equal, refreshed, state._replace(table=expected))
    np.testing.assert_array_equal(distiller.histograms(refreshed)["confusion"], expected.confusion)


def scene(**options):
    """-> RDD with these options, its params, and its state once mined."""
    distiller = create("rdd", **options)
    params, state = start(distiller)
    return distiller, params, distiller.refresh(state, *EMBEDDINGS, None)


def with_table(state, **changes):
    return state._replace(table=state.table._replace(**changes))


def plain_rdd(params, state, bank, side, weighted=True):
    """The formula, row by row: K / pool draws of every row of the pool that is not the anchor or its positive.

    The noise ratio q counts the draws that are left.
    """
    head, embedding = ({**params, **state.fixed_heads}[side], (STUDENT if side == "student" else TEACHER).embedding)
    queries = np.float64(embedding) @ np.float64(head["kernel"]) + np.float64(head["bias"])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rows = []
    for query, i in zip(queries, BATCH.indices, strict=True):
        positive = int(state.table.positives[i])
        pool = [j for j in np.asarray(state.table.negatives[i]).tolist() if j not in (i, positive)]
        rows.append([np.exp(np.float64(bank[j]) @ query / 0.07) for j in (positive, *pool)])
    weight = SMALL["num_negatives"] / SMALL["pool_size"]
    total = sum(row[0] + weight * sum(row[1:]) for row in rows)
    z = EXAMPLES * total / sum(1 + weight * len(row[1:]) for row in rows)
    losses = []
    for positive, *pool in rows:
        noise = weight * len(pool) / EXAMPLES
        negatives = sum(np.log(noise / (score / z + noise + 1e-7)) for score in pool)
        losses.append(-np.log(positive / z / (positive / z + noise + 1e-7)) - weight * negatives)
    confusion = np.asarray(state.table.confusion)[BATCH.indices]
    return np.mean(np.array(losses) * (confusion / confusion.mean() if weighted else 1.0))


def test_rdd_equals_the_formula_in_numpy():
    distiller, params, state = scene(uniform_negatives=0.0)
    # One anchor's positive stands in its own pool, where it may not count as a negative.
    anchor = BATCH.indices[0]
    state = with_table(state, negatives=state.table.negatives.at[anchor, 1].set(state.table.positives[anchor]))
    assert_close(value_of(distiller, params, state), plain_rdd(params, state, state.bank.teacher, "student"))

    distiller = create("rdd", uniform_negatives=0.0, anchor_weighting=False)
    unweighted = plain_rdd(params, state, state.bank.teacher, "student", weighted=False)
    assert_close(value_of(distiller, params, state), unweighted)
    assert abs(unweighted - plain_rdd(params, state, state.bank.teacher, "student")) > 1e-3


def test_rdd_in_both_directions_trains_the_teachers_head():
    distiller, params, state = scene(uniform_negatives=0.0)
    assert set(params) == {"student"}
    assert set(state.fixed_heads) == {"teacher"}

    distiller, params, state = scene(uniform_negatives=0.0, both_directions=True)
    assert set(params) == {"student", "teacher"}
    assert state.fixed_heads == {}
    value, (gradients, _), after, _ = compiled(distiller)(params, state)
    parts = (
        plain_rdd(params, state, state.bank.teacher, "student"),
        plain_rdd(params, state, state.bank.student, "teacher"),
    )
    assert_close(value, sum(parts))
    assert np.abs(gradients["teacher"]["kernel"]).max() > 0
    assert after.teacher_partition > 0


def test_rdd_keeps_the_first_partition_constant():
    distiller, params, state = scene()
    step = compiled(distiller)
    first = step(params, state)[2]
    second = step(params, first)[2]
    assert first.student_partition > 0
    assert second.student_partition == first.student_partition
    assert not np.allclose(first.bank.teacher, second.bank.teacher)


def test_rdd_with_the_anchor_as_its_own_positive():
    distiller, params, state = scene(positives="self")
    own_positives = with_table(state, positives=jnp.arange(EXAMPLES, dtype=jnp.int32))
    assert_close(value_of(distiller, params, state), value_of(create("rdd"), params, own_positives))
    assert abs(value_of(distiller, params, state) - value_of(create("rdd"), params, state)) > 1e-3


def test_rdd_share_of_uniform_negatives():
    other = (np.arange(EXAMPLES)[:, None] + np.arange(1, 6)) % EXAMPLES
    for share, draws, pool in ((0.0, False, True), (1.0, True, False)):
        distiller, params, state = scene(uniform_negatives=share)
        value = value_of(distiller, params, state)
        assert (value != value_of(distiller, params, state, seed=1)) == draws
        assert (value != value_of(distiller, params, with_table(state, negatives=jnp.asarray(other)))) == pool


def test_rdd_same_class_negatives():
    """Without them, nothing in the bank of the anchor's own class matters but its positive."""
    one = {"student": jax.tree.map(lambda x: x[:1], STUDENT), "teacher": jax.tree.map(lambda x: x[:1], TEACHER)}
    one["batch"] = Batch(BATCH.inputs[:1], LABELS[1:2], np.int32([1]))
    same_class = (LABELS[1] == LABELS) & (np.arange(EXAMPLES) != 1)
    for allowed in (True, False):
        distiller, params, state = scene(same_class_negatives=allowed, positives="self")
        state = with_table(state, negatives=state.table.negatives.at[1].set(np.array([5, 2, 9, 3, 0])))
        bank = state.bank._replace(teacher=jnp.where(same_class[:, None], -state.bank.teacher, state.bank.teacher))
        values = [value_of(distiller, params, each, **one) for each in (state, state._replace(bank=bank))]
        assert (values[0] != values[1]) == allowed


# RRD.


def test_rrd_matches_golden():
    """The whole method, two steps: losses, gradients and queues of the authors' code."""
    golden = {key.removeprefix("rrd_"): value for key, value in MEMORY.items() if key.startswith("rrd_")}
    distiller = create("rrd", dim=16, num_negatives=32)
    params, head = ({"kernel": golden[f"w{x}"], "bias": golden[f"b{x}"]} for x in "st")
    state = RrdState(FifoQueue(jnp.asarray(golden["queue0"]), jnp.zeros((), jnp.int32)), head)
    for step in range(2):
        student, teacher = (
            side._replace(embedding=golden[f"{key}{step}"]) for side, key in ((STUDENT, "fs"), (TEACHER, "ft"))
        )
        value, (_, rows), state, _ = compiled(distiller)(params, state, student, teacher)
        gradient = golden[f"grad{step}"]
        np.testing.assert_allclose(value, golden[f"loss{step}"], rtol=5e-6)
        np.testing.assert_allclose(rows.embedding, gradient, rtol=0, atol=5e-6 * np.abs(gradient).max())
        np.testing.assert_allclose(state.memory.vectors, golden[f"queue{step + 1}"], atol=5e-7)


def test_rrd_with_a_bank_compares_with_the_batch_and_the_drawn_rows():
    distiller = create("rrd", memory="momentum")
    params, state = start(distiller)
    value, _, after, _ = compiled(distiller)(params, state)
    student_vectors, teacher_vectors = (
        project(params, STUDENT.embedding),
        project(state.teacher_head, TEACHER.embedding),
    )
    bank = momentum_update(state.memory, BATCH.indices, teacher_vectors, 0.5)
    assert_close(after.memory, bank)
    drawn = jax.random.randint(jax.random.key(0), (SMALL["num_negatives"],), 0, EXAMPLES)
    rows = np.asarray(bank)[np.concatenate([BATCH.indices, drawn])]
    assert_close(value, relational_contrast(student_vectors @ rows.T, teacher_vectors @ rows.T, 0.1, 0.02))
    assert value != value_of(distiller, params, state, seed=1)


# RDX triplets.


def test_rdx_triplet_loss_is_zero_before_the_first_mining():
    distiller = create("rdx_triplet")
    params, state = start(distiller)
    value, (_, rows), after, _ = compiled(distiller)(params, state)
    assert value == 0
    assert not rows.embedding.any()
    assert_close(after.vectors[BATCH.indices], l2_normalize(STUDENT.embedding))  # It remembers all the same.

    state = distiller.refresh(after, *EMBEDDINGS, None)
    assert_close(state.vectors, l2_normalize(EMBEDDINGS[0]))
    positives, negatives, weights = (np.asarray(column)[BATCH.indices] for column in rdx.mine_triplets(*EMBEDDINGS))
    anchor = l2_normalize(STUDENT.embedding)
    positive_distances, negative_distances = (
        np.linalg.norm(anchor - state.vectors[rows], axis=1) for rows in (positives, negatives)
    )
    assert_close(
        value_of(distiller, params, state),
        np.mean(np.logaddexp(0, positive_distances - negative_distances) * weights / weights.mean()),
    )


# A teacher with its ranks, and a few candidates for all images.

MINERS = ("rdd", "rdx_triplet")


@pytest.mark.parametrize("name", MINERS)
def test_a_ranked_teacher_is_passed_to_mining(name):
    distiller = create(name)
    _, state = start(distiller)
    student, teacher = EMBEDDINGS
    # What it would be mined from but for the ranks.
    ranked = rdx.rank_embeddings(teacher)._replace(embeddings=np.zeros_like(teacher))
    expected = distiller.refresh(state, student, teacher, None)
    jax.tree.map(np.testing.assert_array_equal, distiller.refresh(state, student, ranked, None), expected)


@pytest.mark.parametrize("name", MINERS)
def test_only_candidates_are_selected_and_they_are_drawn_for_each_mining(name):
    count = 8
    distiller = create(name, candidates=count)
    _, state = start(distiller)
    selected = []
    for seed in range(2):
        table = distiller.refresh(state, *EMBEDDINGS, jax.random.key(seed)).table
        again = distiller.refresh(state, *EMBEDDINGS, jax.random.key(seed)).table
        jax.tree.map(np.testing.assert_array_equal, table, again)
        columns = np.column_stack([table.positives, table.negatives])
        assert (columns != np.arange(EXAMPLES)[:, None]).all()
        selected.append(set(columns.ravel().tolist()))
    assert all(len(each) <= count for each in selected)
    assert selected[0] != selected[1]


@pytest.mark.parametrize("name", MINERS)
def test_all_images_as_candidates_equal_no_candidates(name):
    _, state = start(create(name))
    tables = [create(name, candidates=n).refresh(state, *EMBEDDINGS, jax.random.key(0)).table for n in (0, EXAMPLES)]
    jax.tree.map(np.testing.assert_array_equal, *tables)


@pytest.mark.parametrize(("name", "least"), [("rdd", SMALL["pool_size"] + 1), ("rdx_triplet", 2)])
def test_impossible_numbers_of_candidates_are_refused(name, least):
    create(name, candidates=least)
    for count in (-1, least - 1, EXAMPLES + 1):
        with pytest.raises(ValueError, match=rf"^{name}: candidates must be in \[{least}, {EXAMPLES}\].*got {count}$"):
            create(name, candidates=count)


@pytest.mark.parametrize("name", MINERS)
def test_embeddings_of_another_number_of_examples_are_refused(name):
    distiller = create(name)
    _, state = start(distiller)
    student, teacher = EMBEDDINGS
    for pair in ((student[:12], teacher[:12]), (student, rdx.rank_embeddings(teacher[:12]))):
        with pytest.raises(
            ValueError, match=rf"^{name}: refresh needs an embedding of each of the {EXAMPLES} training"
        ):
            distiller.refresh(state, *pair, None)


@pytest.mark.parametrize("name", ["crd", "rdd", "rrd", "rdx_triplet"])
@pytest.mark.parametrize("labels", [np.eye(EXAMPLES, 4), LABELS.astype(np.float32), LABELS[:0]])
def test_labels_that_are_not_integers_are_refused(name, labels):
    with pytest.raises(ValueError, match=rf"^{name}: training_labels must be integers \[N\]; got"):
        methods.METHODS[name](labels)
