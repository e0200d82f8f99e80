"""The losses against the authors' numbers, and against what their definitions promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import LOSSES, MEMORY, assert_close, assert_same_gradient, normal, value_and_grad

from rdd_jax.losses import contrastive, logits, relational
from rdd_jax.memory import MemoryBank, momentum_update
from rdd_jax.methods._contrastive import partition_constant_or_init, project


def uniform(*shape):
    return np.random.default_rng(0).uniform(0.1, 1.0, size=shape).astype(np.float32)


def rkd(student, teacher, distance_weight=25.0, angle_weight=50.0):
    distance = distance_weight * relational.rkd_distance(student, teacher)
    return distance + angle_weight * relational.rkd_angle(student, teacher)


def nce(scores, **options):
    """NCE of normalised scores, the positive first."""
    return contrastive.nce(scores[:, 0], scores[:, 1:], num_examples=50, **options)


def kd(student, teacher):
    return logits.distillation_kl(student, teacher, 4.0)


def relational_contrast(student, teacher):
    return contrastive.relational_contrast(student, teacher, 0.1, 0.1)


# The authors' numbers.


@pytest.mark.parametrize(
    ("name", "inputs", "loss"),
    [
        ("kd_T1", "logits", functools.partial(logits.distillation_kl, temperature=1.0)),
        ("kd_T4", "logits", functools.partial(logits.distillation_kl, temperature=4.0)),
        ("rkd", "emb", rkd),
        ("rkd_d", "emb", functools.partial(rkd, angle_weight=0.0)),
        ("rkd_a", "emb", functools.partial(rkd, distance_weight=0.0)),
        ("pkt", "emb", relational.probabilistic_transfer),
    ],
)
def test_matches_golden(name, inputs, loss):
    value, (gradient, _) = value_and_grad(loss)(LOSSES[f"{inputs}_s"], LOSSES[f"{inputs}_t"])
    # 5e-8: in pkt terms of 1e-2 cancel to 6e-4, which is the rounding of the terms; it is nothing to the others.
    assert_close(value, LOSSES[f"{name}_loss"], atol=5e-8)
    assert_same_gradient(gradient, LOSSES[f"{name}_grad"])


@pytest.mark.parametrize("layer", range(3))
def test_similarity_preserving_matches_golden(layer):
    maps = LOSSES[f"map_s{layer}"], LOSSES[f"map_t{layer}"]
    value, (gradient, _) = value_and_grad(relational.similarity_preserving)(*maps)
    assert_close(value, LOSSES[f"sp_loss{layer}"])
    assert_same_gradient(gradient, LOSSES[f"sp_grad{layer}"])


def test_correlation_congruence_matches_golden():
    value, (gradient, _) = value_and_grad(relational.correlation_congruence)(LOSSES["emb_s"], LOSSES["cc_emb_t"])
    assert_close(value, LOSSES["cc_loss"])
    assert_same_gradient(gradient, LOSSES["cc_grad"])


def taken_scores(queries, bank, indices, temperature):
    return jnp.take_along_axis(contrastive.all_scores(queries, bank, temperature), indices, axis=1)


@pytest.mark.parametrize("scores_of", [contrastive.bank_scores, taken_scores])
@pytest.mark.parametrize("method", ["crd", "rdd"])
def test_contrast_with_the_bank_matches_golden(method, scores_of):
    """Two steps: CRD in both directions; RDD with the student's queries alone and weighted anchors."""
    golden = {key.removeprefix(f"{method}_"): value for key, value in MEMORY.items() if key.startswith(method)}
    student_head, teacher_head = ({"kernel": golden[f"w{x}"], "bias": golden[f"b{x}"]} for x in "st")
    bank = MemoryBank(golden["bank_s0"], golden["bank_t0"])
    partitions = (jnp.zeros(()), jnp.zeros(()))

    def loss(student, teacher, bank, partitions, indices, weights):
        queries = project(student_head, student), project(teacher_head, teacher)
        total, updated = 0.0, []
        for direction, (rows, other, partition) in enumerate(zip(queries, reversed(bank), partitions, strict=True)):
            scores = scores_of(rows, other, indices, 0.07)
            updated.append(partition_constant_or_init(partition, scores, jnp.ones_like(scores), len(other), None))
            scores = scores / updated[-1]
            value = contrastive.nce(scores[:, 0], scores[:, 1:], num_examples=len(other), anchor_weights=weights)
            total += value if method == "crd" or direction == 0 else 0.0
        return total, (updated, queries)

    for step in range(2):
        inputs = (golden[f"{key}{step}"] for key in ("fs", "ft"))
        weights = None if method == "crd" else golden[f"weights{step}"]
        (value, (partitions, queries)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            *inputs, bank, partitions, golden[f"cidx{step}"], weights
        )
        assert_close(value, golden[f"loss{step}"])
        assert_same_gradient(gradient, golden[f"grad{step}"])
        assert_close(partitions, golden["Z"])  # Of the first step, and kept in the second.
        rows = golden[f"idx{step}"]
        bank = MemoryBank(*(momentum_update(*pair, 0.5) for pair in zip(bank, (rows, rows), queries, strict=True)))
        np.testing.assert_allclose(bank.student, golden[f"bank_s{step + 1}"], atol=5e-7)
        np.testing.assert_allclose(bank.teacher, golden[f"bank_t{step + 1}"], atol=5e-7)


def test_triplet_matches_golden():
    arguments = [MEMORY[f"tri_{key}"] for key in "apnw"]
    value, gradient = jax.jit(jax.value_and_grad(contrastive.rdx_triplet))(*arguments)
    assert_close(value, MEMORY["tri_loss"])
    assert_same_gradient(gradient, MEMORY["tri_grad"])


# What the definitions promise.


RELATIONAL = [
    relational.rkd_distance,
    relational.rkd_angle,
    relational.probabilistic_transfer,
    relational.similarity_preserving,
]


@pytest.mark.parametrize("loss", [kd, *RELATIONAL])
def test_loss_and_gradient_are_zero_if_student_equals_teacher(loss):
    value, (gradient, _) = value_and_grad(loss)(normal(0, 6, 5), normal(0, 6, 5))
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    assert value_and_grad(loss)(normal(0, 6, 5), normal(1, 6, 5))[0] > 1e-3


def test_relational_contrast_is_minimal_at_the_teacher():
    teacher = normal(0, 6, 5)
    least, (gradient, _) = value_and_grad(relational_contrast)(teacher, teacher)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    assert least < value_and_grad(relational_contrast)(teacher + 0.1 * normal(1, 6, 5), teacher)[0]


@pytest.mark.parametrize("loss", [relational.rkd_distance, relational.rkd_angle])
def test_rkd_ignores_scale_rotation_and_shift(loss):
    student, teacher = normal(0, 6, 5), normal(1, 6, 5)
    rotation = np.linalg.qr(normal(2, 5, 5))[0]
    moved = 3 * student @ rotation + normal(3, 1, 5)
    value = lambda *arguments: value_and_grad(loss)(*arguments)[0]  # noqa: E731
    # 1e-5: what the shift costs the distances, which are differences of squares.
    np.testing.assert_allclose(value(moved, teacher), value(student, teacher), rtol=1e-5)
    np.testing.assert_allclose(value(moved, student), 0.0, atol=1e-6)


@pytest.mark.parametrize("loss", [relational.probabilistic_transfer, relational.similarity_preserving])
def test_cosines_ignore_scale_and_rotation(loss):
    student, teacher = normal(0, 6, 5), normal(1, 6, 7)
    turned = 3 * student @ np.linalg.qr(normal(2, 5, 5))[0]
    assert_close(value_and_grad(loss)(turned, teacher)[0], value_and_grad(loss)(student, teacher)[0])
    np.testing.assert_allclose(value_and_grad(loss)(turned, student)[0], 0.0, atol=1e-6)


def test_correlation_congruence_is_minimal_for_disjoint_errors():
    teacher = normal(0, 6, 5)
    alternating = np.float32([[1], [0], [1], [0], [1], [0]])
    assert value_and_grad(relational.correlation_congruence)(teacher + alternating, teacher)[0] == 0
    assert_close(value_and_grad(relational.correlation_congruence)(teacher + np.float32(1), teacher)[0], 5.0)


@pytest.mark.parametrize("rows", ["duplicated", "equal", "zero", "one dead", "opposite", "one", "two"])
@pytest.mark.parametrize("loss", [kd, rkd, relational_contrast, *RELATIONAL[2:], relational.correlation_congruence])
def test_gradient_is_finite(loss, rows):
    student = {
        "duplicated": normal(0, 6, 5)[np.array([0, 1, 2, 0, 1, 5])],
        "equal": np.tile(normal(0, 1, 5), (6, 1)),
        "zero": np.zeros((6, 5), np.float32),
        "one dead": normal(0, 6, 5) * np.float32([[1], [1], [0], [1], [1], [1]]),
        "opposite": np.concatenate([normal(0, 3, 5), -normal(0, 3, 5)]),
        "one": normal(0, 1, 5),
        "two": normal(0, 2, 5),
    }[rows]
    for teacher in (student, normal(1, *student.shape)):
        value, (gradient, _) = value_and_grad(loss)(student, teacher)
        assert np.isfinite(value)
        # And no row without a direction blows it up: of ordinary rows it is at most 10 or so.
        assert np.abs(gradient).max() < 100


def test_opposite_rows_have_a_finite_log_probability():
    """Their cosine may round to less than -1."""
    rows = normal(0, 300, 64, 2)
    batches = np.concatenate([rows, -rows], axis=1)
    values = jax.vmap(relational.probabilistic_transfer)(batches, np.roll(batches, 1, axis=0))
    assert np.isfinite(values).all()


def test_triplet_has_finite_gradient_where_all_three_are_equal():
    rows = normal(0, 4, 5)
    value, gradient = jax.jit(jax.value_and_grad(contrastive.rdx_triplet))(rows, rows, rows, np.ones(4, np.float32))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_nce_weight_of_a_negative_counts_as_repeated_draws():
    scores, counts = uniform(4, 6), np.array([1, 3, 0, 2, 5])
    repeated = np.concatenate([scores[:, :1], np.repeat(scores[:, 1:], counts, axis=1)], axis=1)
    for weights in (counts, np.broadcast_to(counts, (4, 5))):
        weighted = nce(scores, num_negatives=counts.sum(), draw_counts=weights)
        assert_close(weighted, nce(repeated))


def test_nce_weight_of_an_anchor():
    scores, weights = uniform(4, 6), np.float32([1, 0, 2, 5])
    assert_close(nce(scores, anchor_weights=np.full(4, 7, np.float32)), nce(scores))
    each = np.stack([nce(scores[i : i + 1]) for i in range(4)])
    assert_close(nce(scores, anchor_weights=weights), np.mean(each * weights) / np.mean(weights))


def test_nce_takes_the_mean_weight_over_all_devices():
    scores, weights = uniform(8, 6), np.arange(1, 9, dtype=np.float32)
    split = jax.vmap(lambda scores, weights: nce(scores, anchor_weights=weights, axis_name="i"), axis_name="i")
    assert_close(split(scores.reshape(4, 2, 6), weights.reshape(4, 2)).mean(), nce(scores, anchor_weights=weights))


def test_all_scores_are_bank_scores():
    arguments = 0.1 * normal(0, 4, 5), normal(1, 9, 5), np.array([[0, 8, 8], [1, 2, 3]] * 2), 0.07
    assert_close(taken_scores(*arguments), contrastive.bank_scores(*arguments))


@pytest.mark.parametrize("loss", [kd, rkd, relational_contrast, *RELATIONAL[2:]])
def test_eager_jit_and_vmap_agree(loss):
    student, teacher = normal(0, 3, 6, 5), normal(1, 3, 6, 5)
    values, (gradients, _) = jax.jit(jax.vmap(value_and_grad(loss)))(student, teacher)
    value, (gradient, to_teacher) = value_and_grad(loss)(student[1], teacher[1])
    assert_close(loss(student[1], teacher[1]), value)
    assert_close(values[1], value)
    assert_same_gradient(gradients[1], gradient)
    assert np.abs(gradient).max() > 0
    assert not to_teacher.any()


@pytest.mark.parametrize("scores_of", [contrastive.bank_scores, taken_scores])
def test_no_gradient_reaches_the_bank(scores_of):
    def total(queries, bank):
        return jnp.sum(scores_of(queries, bank, np.array([[0, 1], [2, 2]]), 1.0))

    _, (queries, bank) = value_and_grad(total)(normal(0, 2, 5), normal(1, 4, 5))
    assert np.abs(queries).max() > 0
    assert not bank.any()


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda: kd(np.zeros((2, 3)), np.zeros((2, 4))), ["(2, 3)", "(2, 4)"]),
        (lambda: relational.rkd_distance(np.zeros((2, 3)), np.zeros((5, 3))), ["(2, 3)", "(5, 3)"]),
        (lambda: relational.rkd_angle(np.zeros((2, 3)), np.zeros((2,))), ["(2, 3)", "(2,)"]),
        (lambda: relational.probabilistic_transfer(np.zeros((2, 3)), np.zeros((4, 3))), ["(2, 3)", "(4, 3)"]),
        (lambda: relational.similarity_preserving(np.zeros((2, 3, 3)), np.zeros((4, 3))), ["(2, 9)", "(4, 3)"]),
        (lambda: relational.correlation_congruence(np.zeros((2, 3)), np.zeros((2, 4))), ["(2, 3)", "(2, 4)"]),
        (lambda: relational_contrast(np.zeros((2, 3)), np.zeros((2, 4))), ["(2, 3)", "(2, 4)"]),
        (lambda: contrastive.nce(np.zeros(3), np.zeros((2, 4)), num_examples=5), ["(3,)", "(2, 4)"]),
        (lambda: contrastive.rdx_triplet(*[np.zeros((2, 3))] * 3, np.zeros((3,))), ["(2, 3)", "(3,)"]),
        (
            lambda: contrastive.bank_scores(np.zeros((2, 3)), np.zeros((9, 4)), np.zeros((2, 1), int), 1.0),
            ["(2, 3)", "(9, 4)"],
        ),
    ],
)
def test_error_messages_name_the_shapes(call, shapes):
    with pytest.raises(ValueError, match="got") as error:
        call()
    assert all(shape in str(error.value) for shape in shapes)
