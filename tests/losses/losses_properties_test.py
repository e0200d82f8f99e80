"""Properties of the losses for any numbers: ties, equal rows, NaN, infinity; no rows, one row; half precision.

Shapes are few, as each is compiled: embeddings [4,3], and the same numbers as maps [4,2,1,3].
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdd_jax.losses import contrastive, correlation, decoupled, features, logits, projected, relational

ROWS, WIDTH = 4, 3


def kd(student, teacher):
    return logits.distillation_kl(student, teacher, 4.0)


def relational_contrast(student, teacher):
    return contrastive.relational_contrast(student, teacher, 0.1, 0.1)


def triplet(student, teacher):
    """Student the anchor, teacher its positive, and the teacher of the row before its negative."""
    return contrastive.rdx_triplet(student, teacher, jnp.roll(teacher, 1, axis=0), jnp.arange(1.0, len(student) + 1))


def nce(student, teacher):
    """Scores above 0, as the exponentials are that they stand for."""
    positive, negatives = (jnp.maximum(jnp.abs(x), 2.0**-10) for x in (student, teacher))
    return contrastive.nce(jnp.max(positive, axis=1), negatives, num_examples=9)


def dkd(student, teacher):
    target, others = decoupled.decoupled_kl(student, teacher, jnp.arange(len(student)) % WIDTH, 4.0)
    return target + 8 * others


def nkd(student, teacher):
    return decoupled.normalized_cross_entropy(student, teacher, jnp.arange(len(student)) % WIDTH, 1.5, 3.0)


def rld(student, teacher):
    confidence, masked = decoupled.refined_kl(student, teacher, jnp.arange(len(student)) % WIDTH, 4.0)
    return confidence + 8 * masked


def dist(student, teacher):
    return correlation.inter_class(student, teacher, 4.0) + correlation.intra_class(student, teacher, 4.0)


def ttm(student, teacher):
    return logits.transformed_kl(student, teacher, 0.2, weighted=True)


def kd_standardized(student, teacher):
    return logits.distillation_kl(logits.standardize(student), logits.standardize(teacher), 2.0)


def srd(student, teacher):
    return projected.log_distance(student, teacher, 4.0)


def itrd(student, teacher):
    return projected.log_decorrelation(student, teacher, 1.5) + projected.mutual_information(student, teacher)


def vid(student, teacher):
    return features.variational_information(student, jnp.array([0.5, 1.0, 2.0]), teacher)


def hint_of_rows(student, teacher):
    return features.hint(student, teacher)


EMBEDDINGS = [
    *(kd, relational.rkd_distance, relational.rkd_angle, relational.probabilistic_transfer),
    *(relational.similarity_preserving, relational.correlation_congruence, relational_contrast, hint_of_rows),
]
CONTRASTS = [triplet, nce]
MAPS = [features.attention_transfer, features.neuron_selectivity, features.hint, vid]
LOGITS = [dkd, nkd, rld, dist, ttm, kd_standardized]
PROJECTIONS = [srd, itrd]
ALL = [*EMBEDDINGS, *CONTRASTS, *MAPS, *LOGITS, *PROJECTIONS]
# An infinite logit, or score, is the limit of what is finite for these.
WITH_LIMITS = [nce, dkd, nkd, rld, dist]
# 0 for a student that is its teacher, and never below it; up to rounding, of terms of that size.
DIVERGENCES = {loss: 1e-6 for loss in [*EMBEDDINGS, *MAPS, dkd, kd_standardized]}
del DIVERGENCES[relational_contrast], DIVERGENCES[vid]

every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.__name__)
every_divergence = pytest.mark.parametrize("loss", DIVERGENCES, ids=lambda loss: loss.__name__)

whole = st.integers(-3, 3).map(float)
ordinary = st.floats(-10, 10, width=32)
not_numbers = st.sampled_from([np.nan, np.inf, -np.inf])
few = settings(max_examples=20, deadline=None, derandomize=True)


def rows_of(elements):
    same = arrays(np.float32, (1, WIDTH), elements=elements).map(lambda row: np.tile(row, (ROWS, 1)))
    return arrays(np.float32, (ROWS, WIDTH), elements=elements, fill=st.nothing()) | same


finite_rows = rows_of(whole | ordinary | st.sampled_from([0.0, 1e-40, 1e-20, 1e4]))
pairs = st.tuples(finite_rows, finite_rows)
places = st.tuples(st.integers(0, ROWS - 1), st.integers(0, WIDTH - 1))


@functools.cache
def compiled(loss):
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def computed(loss, student, teacher):
    """-> value, gradients for student and teacher."""
    if loss in MAPS:  # Two places a channel: the numbers and those of the row before.
        student, teacher = (np.stack([x, np.roll(x, 1, axis=0)], axis=1)[:, :, None] for x in (student, teacher))
    value, gradients = compiled(loss)(student, teacher)
    return np.asarray(value), *(np.asarray(gradient, np.float32) for gradient in gradients)


@every_loss
@few
@given(pair=pairs)
def test_finite_inputs_give_finite_loss_and_gradient(loss, pair):
    """Equal rows, rows of zeros and numbers that square to nothing among them."""
    value, gradient, _ = computed(loss, *pair)
    assert (value.shape, value.dtype) == ((), np.float32)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every_loss
@few
@given(pair=st.tuples(rows_of(ordinary), rows_of(ordinary)), place=places, wrong=not_numbers, side=st.integers(0, 1))
def test_inputs_that_are_not_finite_give_losses_that_are_not(loss, pair, place, wrong, side):
    """One entry of either side; or else a run would go on with what is no student, or no teacher, any more."""
    pair[side][place] = wrong
    # So is a target that can never be.
    if not np.isnan(wrong) and (loss in WITH_LIMITS or (loss is relational_contrast and side == 1)):
        return
    assert not np.isfinite(computed(loss, *pair)[0])


@every_divergence
@few
@given(pair=pairs)
def test_divergences_are_non_negative_and_zero_between_equals(loss, pair):
    student, teacher = pair
    size = max(1.0, np.abs(pair).max() ** 2)
    assert computed(loss, student, teacher)[0] >= -DIVERGENCES[loss] * size
    value, gradient, _ = computed(loss, student, student)
    assert np.abs(value) <= DIVERGENCES[loss] * size
    # Where rows are so short that a direction means little, a slope is as large as they are short.
    if np.abs(student).max() >= 0.1 and np.linalg.norm(student, axis=1).min() >= 0.1:
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [*EMBEDDINGS[:5], *MAPS[:3], *LOGITS, *PROJECTIONS], ids=lambda loss: loss.__name__)
@few
@given(pair=pairs)
def test_no_gradient_reaches_the_teacher(loss, pair):
    np.testing.assert_array_equal(computed(loss, *pair)[2], 0.0)


@pytest.mark.parametrize(
    "loss",
    [loss for loss in ALL if loss not in (relational.correlation_congruence, triplet, dkd, nkd, rld)],
    ids=lambda loss: loss.__name__,
)
@few
@given(pair=st.tuples(rows_of(whole), rows_of(whole)), order=st.permutations(range(ROWS)))
def test_losses_are_invariant_to_the_order_of_rows(loss, pair, order):
    if loss in MAPS:  # Their second place is of the row before, which is to stay the same.
        order = np.roll(range(ROWS), order[0])
    value = computed(loss, *pair)[0]
    moved = computed(loss, *(x[np.array(order)] for x in pair))[0]
    np.testing.assert_allclose(moved, value, rtol=1e-4, atol=1e-6)


SCALE_FREE = [relational.rkd_distance, relational.rkd_angle, relational.probabilistic_transfer]
SCALE_FREE += [relational.similarity_preserving, features.attention_transfer, features.neuron_selectivity]


@pytest.mark.parametrize("loss", SCALE_FREE, ids=lambda loss: loss.__name__)
@few
@given(pair=st.tuples(rows_of(whole), rows_of(whole)), scales=st.tuples(*[st.sampled_from([0.25, 2.0, 1024.0])] * 2))
def test_scale_invariant_losses_ignore_powers_of_two(loss, pair, scales):
    scaled = (np.float32(scale) * x for scale, x in zip(scales, pair, strict=True))
    np.testing.assert_allclose(computed(loss, *scaled)[0], computed(loss, *pair)[0], rtol=1e-5, atol=1e-7)


@few
@given(pair=st.tuples(rows_of(whole), rows_of(whole)), shift=st.integers(-8, 8))
def test_rkd_ignores_translation_and_kd_a_constant_added_to_logits(pair, shift):
    student, teacher = pair
    along = np.float32(shift) * np.ones((1, WIDTH), np.float32)
    across = np.float32([[shift, -shift, 2 * shift]])
    for loss, moves in ((kd, along), (relational.rkd_distance, across), (relational.rkd_angle, across)):
        value = computed(loss, student, teacher)[0]
        np.testing.assert_allclose(computed(loss, student + moves, teacher)[0], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(computed(loss, student, teacher + moves)[0], value, rtol=1e-5, atol=1e-6)


@few
@given(pair=st.tuples(rows_of(whole), rows_of(whole)), axes=st.permutations(range(WIDTH)))
def test_relational_losses_are_invariant_to_rotation(pair, axes):
    """By right angles, and mirrored: exact but for the order of sums."""
    student, teacher = pair
    turned = student[:, np.array(axes)] * np.float32([-1, 1, -1])
    for loss in EMBEDDINGS[1:5]:
        value = computed(loss, student, teacher)[0]
        np.testing.assert_allclose(computed(loss, turned, teacher)[0], value, rtol=1e-5, atol=1e-6)


@few
@given(student=rows_of(st.floats(-1, 1, width=32)), teacher=rows_of(st.floats(-1, 1, width=32)))
def test_huge_logits_have_a_finite_loss(student, teacher):
    for loss in (kd, relational_contrast, *LOGITS):
        value, gradient, _ = computed(loss, 1e4 * student, 1e4 * teacher)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@every_loss
def test_half_precision_inputs_are_computed_in_float32(loss):
    """300 squares to more than float16 holds."""
    rows = [300 * np.random.default_rng(seed).normal(size=(ROWS, WIDTH)) for seed in range(2)]
    halves = [np.asarray(x, np.float16) for x in rows]
    singles = [x.astype(np.float32) for x in halves]
    value, gradient, _ = computed(loss, *halves)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, computed(loss, *singles)[0], rtol=1e-6, atol=1e-12)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss not in (relational.correlation_congruence, srd)])
def test_empty_batches_give_nan(loss):
    nothing = np.zeros((0, WIDTH), np.float32)
    assert np.isnan(computed(loss, nothing, nothing)[0])


def test_correlation_congruence_of_an_empty_batch_is_zero():
    nothing = np.zeros((0, WIDTH), np.float32)
    assert computed(relational.correlation_congruence, nothing, nothing)[0] == 0


@every_loss
@few
@given(
    student=arrays(np.float32, (1, WIDTH), elements=ordinary), teacher=arrays(np.float32, (1, WIDTH), elements=ordinary)
)
def test_one_row_has_a_loss_and_a_gradient(loss, student, teacher):
    value, gradient, _ = computed(loss, student, teacher)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if loss in EMBEDDINGS[1:6] and loss is not relational.similarity_preserving:
        assert value == 0  # It has no relation to anything.


@pytest.mark.parametrize(
    ("loss", "student", "teacher"),
    [
        *((loss, (4, 3), (5, 3)) for loss in [*EMBEDDINGS, *CONTRASTS, *LOGITS[:-1], *PROJECTIONS]),
        *((loss, (4, 2, 2, 3), (5, 2, 2, 3)) for loss in MAPS),
    ],
)
def test_batches_of_unequal_size_are_refused_with_both_shapes(loss, student, teacher):
    with pytest.raises(ValueError, match="got") as error:
        loss(jnp.zeros(student), jnp.zeros(teacher))
    told = str(error.value)
    assert str(student) in told or str(student[:1]) in told or str((4, 3)) in told
    assert str(teacher) in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.zeros(5, np.int32)}, r"got \(4, 3\) and \(5,\)"),
        ({"weights": np.ones(3)}, r"weights \[b\]; got \(3,\)"),
        ({"smoothing": -0.1}, "smoothing in .* got -0.1"),
        ({"smoothing": 1.1}, "smoothing in .* got 1.1"),
    ],
)
def test_cross_entropy_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        logits.cross_entropy(jnp.zeros((4, 3)), **({"labels": np.zeros(4, np.int32)} | arguments))


def test_cross_entropy_with_smoothing_is_that_with_the_smoothed_target():
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    labels = np.array([0, 3, 1, 2, 2, 0], np.int32)
    log_probabilities = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    for smoothing in (0.1, 1.0):
        target = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
        expected = -np.mean(np.sum(target * log_probabilities, axis=1))
        np.testing.assert_allclose(logits.cross_entropy(rows, labels, smoothing=smoothing), expected, rtol=1e-5)


def test_cross_entropy_with_probabilities_is_that_of_their_mixture():
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    one, other, share = np.array([0, 1, 2, 3, 0]), np.array([3, 2, 2, 0, 1]), np.array([0.5, 0.6, 0.7, 0.8, 1.0])
    mixture = share[:, None] * np.eye(4)[one] + (1 - share)[:, None] * np.eye(4)[other]
    for smoothing in (0.0, 0.1):
        target = (1 - smoothing) * mixture + smoothing / 4
        expected = -(target * np.asarray(jax.nn.log_softmax(rows))).sum(1).mean()
        actual = logits.cross_entropy(rows, mixture.astype(np.float32), smoothing)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_cross_entropy_with_weights_is_the_weighted_mean_over_rows():
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([0, 3, 1, 2, 2], np.int32)
    masked = logits.cross_entropy(rows, labels, 0.1, weights=np.array([1.0, 0.0, 1.0, 1.0, 0.0], np.float32))
    np.testing.assert_allclose(masked, logits.cross_entropy(rows[[0, 2, 3]], labels[[0, 2, 3]], 0.1), rtol=1e-6)
    twice = logits.cross_entropy(rows[:2], labels[:2], weights=np.array([2.0, 1.0], np.float32))
    np.testing.assert_allclose(twice, logits.cross_entropy(rows[[0, 0, 1]], labels[[0, 0, 1]]), rtol=1e-6)


@few
@given(rows=finite_rows, labels=arrays(np.int32, ROWS, elements=st.integers(0, WIDTH - 1)))
def test_cross_entropy_is_non_negative_and_equals_numpys(rows, labels):
    value = np.asarray(logits.cross_entropy(rows, labels))
    exact = rows.astype(np.float64)
    largest = exact.max(axis=1)
    expected = np.mean(largest + np.log(np.exp(exact - largest[:, None]).sum(axis=1)) - exact[np.arange(ROWS), labels])
    assert value >= 0
    # A small difference of logits is rounded as the logits are.
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6 + 2**-23 * np.abs(rows).max())
