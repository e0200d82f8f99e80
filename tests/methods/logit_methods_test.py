"""The methods of logits since 2022: the authors' numbers, and what their definitions promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS, assert_close, assert_same_gradient, normal
from tiny import BATCH as ROWS
from tiny import LABELS as TRAINING_LABELS
from tiny import STUDENT, compiled, create, start

from rdd_jax import methods
from rdd_jax.core.types import Batch, ModelOutput
from rdd_jax.losses import decoupled, logits

GOLDEN = dict(np.load(GOLDENS / "logits.npz"))
LABELS = GOLDEN["labels"]
BATCH = Batch(None, LABELS, np.arange(len(LABELS)))


def loss_of(distiller, student, teacher, batch=BATCH):
    """The loss of logits alone."""
    outputs = (ModelOutput(logits, jnp.zeros((len(logits), 2))) for logits in (student, teacher))
    return distiller.loss({}, {}, *outputs, batch, rng=jax.random.key(0), axis_name=None)[0]


@pytest.mark.parametrize(
    ("golden", "name", "options"),
    [
        ("ce_smoothing0.1", "ce", {"smoothing": 0.1}),
        ("kd_standardized_T2", "kd", {"temperature": 2.0, "standardize": True}),
        ("dkd_a1_b8_T4", "dkd", {}),
        ("dkd_a0.5_b2_T2", "dkd", {"alpha": 0.5, "beta": 2.0, "temperature": 2.0}),
        ("dkd_standardized_a9_b72_T2", "dkd", {"alpha": 9.0, "beta": 72.0, "temperature": 2.0, "standardize": True}),
        ("dist_T4", "dist", {}),
        ("dist_T1_inter2_intra0.5", "dist", {"temperature": 1.0, "inter_weight": 2.0, "intra_weight": 0.5}),
        ("ttm_power0.1", "ttm", {}),
        ("wttm_power0.2", "ttm", {"power": 0.2, "weighted": True}),
        ("nkd_g1.5_T1", "nkd", {}),
        ("nkd_g3.5_T3", "nkd", {"gamma": 3.5, "temperature": 3.0}),
        ("rld_a1_b8_T4", "rld", {}),
    ],
)
def test_matches_golden(golden, name, options):
    loss = functools.partial(loss_of, methods.create(name, **options))
    value, gradient = jax.jit(jax.value_and_grad(loss))(GOLDEN["logits_s"], GOLDEN["logits_t"])
    assert_close(value, GOLDEN[f"{golden}_loss"])
    assert_same_gradient(gradient, GOLDEN[f"{golden}_grad"])


def rows(seed, classes=5):
    return 3 * normal(seed, 6, classes)


Y = np.array([0, 1, 2, 3, 4, 0])


def test_the_parts_of_dkd_add_up_to_the_kl_divergence():
    """Equation 7 of the paper, for each row."""
    for student, teacher, label in zip(rows(0), rows(1), Y, strict=True):
        one = student[None], teacher[None]
        target, others = decoupled.decoupled_kl(*one, label[None], 2.0)
        share = jax.nn.softmax(teacher / 2)[label]
        np.testing.assert_allclose(target + (1 - share) * others, logits.distillation_kl(*one, 2.0), rtol=1e-5)


def test_dkd_and_nkd_learn_the_same_from_the_other_classes():
    def of_others(name, **options):
        distiller, batch = methods.create(name, temperature=3.0, **options), Batch(None, Y, Y)
        return jax.jit(jax.grad(lambda student: loss_of(distiller, student, rows(1), batch)))(rows(0))

    nkd = of_others("nkd", gamma=2.0) - of_others("nkd", gamma=0.0)
    np.testing.assert_allclose(nkd, of_others("dkd", alpha=0.0, beta=2.0), rtol=1e-4, atol=1e-6)


def test_ttm_is_kd_with_a_temperature_for_the_teacher_alone():
    actual = logits.transformed_kl(rows(0), rows(1), power=0.25)
    np.testing.assert_allclose(actual, logits.distillation_kl(rows(0), rows(1) / 4, 1.0), rtol=1e-5)
    certain = jnp.array([[50.0, 0.0, 0.0]])
    student = jnp.array([[1.0, 2.0, 3.0]])
    weighted, plain = (logits.transformed_kl(student, certain, 1.0, weighted=each) for each in (True, False))
    np.testing.assert_allclose(weighted, plain, rtol=1e-6)  # The probabilities themselves have the sum 1.


def test_dist_ignores_scale_and_shift_of_probabilities_but_kd_does_not():
    teacher = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]))
    student = jnp.log(0.5 * jnp.exp(teacher) + 0.5 / 3)
    distiller = methods.create("dist", temperature=1.0)
    np.testing.assert_allclose(loss_of(distiller, student, teacher), 0, atol=1e-6)
    assert logits.distillation_kl(student, teacher, 1.0) > 0.05


def test_rld_leaves_out_classes_that_the_teacher_ranks_above_the_true_one():
    student, teacher, labels = rows(0), rows(1), Y
    wrong = np.argmax(teacher, axis=1) != labels
    assert wrong.any()
    higher = np.where(teacher > np.take_along_axis(teacher, labels[:, None], axis=1), teacher + 1.0, teacher)
    masked = [decoupled.refined_kl(student, each, labels, 4.0)[1] for each in (teacher, higher)]
    assert masked[0] == masked[1] > 0
    lowest = np.argmin(teacher, axis=1)
    assert decoupled.refined_kl(student, teacher, lowest, 4.0)[1] == 0


def test_a_confident_right_teacher_makes_rld_the_divergence_of_the_true_class():
    teacher = rows(1) + 20 * np.eye(5)[Y].astype(np.float32)
    target, others = decoupled.decoupled_kl(rows(0), teacher, Y, 1.0)
    confidence, masked = decoupled.refined_kl(rows(0), teacher, Y, 1.0)
    np.testing.assert_allclose((confidence, masked), (target, others), rtol=1e-5)


def test_with_two_classes_only_the_true_one_teaches():
    student, teacher, labels = rows(0, 2), rows(1, 2), Y % 2
    assert decoupled.decoupled_kl(student, teacher, labels, 4.0)[1] == 0
    target = decoupled.decoupled_kl(student, teacher, labels, 4.0)[0]
    np.testing.assert_allclose(target, logits.distillation_kl(student, teacher, 4.0), rtol=1e-5)


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_two_classes_cannot_be_standardised(name):
    with pytest.raises(ValueError, match=r"3 classes or more; got \(6, 2\)"):
        loss_of(methods.create(name, standardize=True), rows(0, 2), rows(1, 2), Batch(None, Y % 2, Y))


def test_standardised_logits_have_mean_0_and_deviation_1():
    standardized = np.asarray(logits.standardize(rows(0)))
    np.testing.assert_allclose(standardized.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(standardized.std(axis=1, ddof=1), 1, rtol=1e-5)


# Warm-up.


@pytest.mark.parametrize(
    ("shape", "weights"),
    [("linear", [0.25, 0.25, 0.5, 0.75, 1, 1]), ("cosine", [0.1464, 0.1464, 0.5, 0.8536, 1, 1])],
)
def test_a_warmup_has_one_weight_in_each_epoch(shape, weights):
    schedule = methods.warmup(4, [0, 2, 3, 4, 5], shape)
    np.testing.assert_allclose([schedule(jnp.asarray(step)) for step in range(6)], weights, atol=1e-4)


def test_a_scheduled_method_counts_its_steps():
    distiller = methods.scheduled(create("crd"), lambda step: jnp.asarray(step, jnp.float32))
    params, state = start(distiller)
    plain = compiled(create("crd"))(*start(create("crd")))
    value, _, first, metrics = compiled(distiller)(params, state)
    assert (value, metrics["weight"], first.step) == (0, 0, 1)
    jax.tree.map(np.testing.assert_array_equal, first.inner, plain[2])
    value, _, second, metrics = compiled(distiller)(params, first)
    assert (metrics["weight"], second.step) == (1, 2)
    assert value > 0


def test_a_scheduled_method_mines_as_the_method_does():
    distiller = methods.scheduled(create("rdd"), lambda step: 0.5)
    assert methods.scheduled(create("kd"), lambda step: 0.5).refresh is None
    (_, state), (_, plain) = start(distiller), start(create("rdd"))
    embeddings = np.random.default_rng(7).normal(size=(2, 24, 6)).astype(np.float32)
    mined = distiller.refresh(state, *embeddings, jax.random.key(0))
    expected = create("rdd").refresh(plain, *embeddings, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, mined.inner, expected)
    assert distiller.histograms(mined).keys() == create("rdd").histograms(plain).keys()


def test_options_may_say_how_long_a_weight_grows():
    distill = {"ce": {"weight": 1.0}, "dkd": {"weight": 2.0, "warmup_epochs": 2, "warmup_shape": "linear"}}
    summed = methods.from_options(distill, LABELS, epoch_starts=[0, 1, 2])
    params, state = start(summed)
    weights = []
    for _ in range(3):
        _, _, state, metrics = compiled(summed)(params, state)
        weights.append(metrics["dkd/weight"])
    assert weights == [0.5, 1.0, 1.0]
    with pytest.raises(ValueError, match='unknown warmup_shape "steep"'):
        methods.from_options({"kd": {"weight": 1.0, "warmup_epochs": 2, "warmup_shape": "steep"}}, LABELS)


# Self-distillation.


def test_ps_kd_matches_golden():
    distiller = methods.ps_kd(LABELS, [0], final_share=0.6)
    state = start(distiller)[1]._replace(predictions=GOLDEN["previous"])

    def loss(logits):
        student = ModelOutput(logits, jnp.zeros((len(logits), 2)))
        return distiller.loss({}, state, student, student, BATCH, rng=jax.random.key(0))[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(GOLDEN["logits_s"])
    assert_close(value, GOLDEN["ps_kd_a0.6_loss"])
    assert_same_gradient(gradient, GOLDEN["ps_kd_a0.6_grad"])


def test_the_share_of_the_predictions_of_ps_kd_grows_with_the_epochs():
    """Two steps, then one, then two; and in the first epoch the predictions are the labels."""
    distiller = methods.create("ps_kd", TRAINING_LABELS, [0, 2, 3], final_share=0.9)
    params, state = start(distiller)
    np.testing.assert_array_equal(state.predictions, np.eye(4)[TRAINING_LABELS])
    shares, losses = [], []
    for _ in range(5):
        value, _, state, metrics = compiled(distiller)(params, state)
        shares.append(metrics["share"])
        losses.append(value)
    np.testing.assert_allclose(shares, [0.3, 0.3, 0.6, 0.9, 0.9], rtol=1e-6)
    np.testing.assert_allclose(losses[0], compiled(create("ce"))(*start(create("ce")))[0], rtol=1e-6)


def test_ps_kd_remembers_the_latest_prediction_of_each_example():
    distiller = create("ps_kd")
    before = start(distiller)[1].predictions
    twice = ROWS._replace(indices=np.array([3, 5, 3, 0, 1, 2, 4, 3], np.int32))
    after = compiled(distiller)(*start(distiller), batch=twice)[2].predictions
    probabilities = jax.nn.softmax(STUDENT.logits)
    np.testing.assert_allclose(
        after[np.array([5, 0, 1, 2, 4, 3])], probabilities[np.array([1, 3, 4, 5, 6, 7])], rtol=1e-6
    )
    np.testing.assert_array_equal(after[6:], before[6:])


def test_ps_kd_mixes_the_soft_labels_of_mixed_images():
    distiller = create("ps_kd", final_share=0.5)
    soft = jax.nn.softmax(normal(3, 8, 4))
    value = compiled(distiller)(*start(distiller), batch=ROWS._replace(soft_labels=soft))[0]
    target = 0.5 * soft + 0.5 * np.eye(4)[ROWS.labels]
    np.testing.assert_allclose(value, logits.cross_entropy(STUDENT.logits, target), rtol=1e-6)


def test_ps_kd_refuses_a_table_that_is_too_large():
    with pytest.raises(ValueError, match=r"24 examples and 4 classes take 0.0 GB .* which is 1e-07"):
        start(create("ps_kd", gigabytes=1e-7))
    with pytest.raises(ValueError, match="every example needs a label, and 8 of the 8 are below 0"):
        methods.ps_kd(np.full(8, -1), [0])
    with pytest.raises(ValueError, match=r"final_share must be in \[0, 1\]; got 1.5"):
        create("ps_kd", final_share=1.5)


def test_ps_kd_needs_no_teacher():
    weights = {"ce": {"weight": 0.0}, "ps_kd": {"weight": 1.0}}
    assert not methods.reads_teacher(weights)
    assert methods.reads_teacher(weights | {"kd": {"weight": 0.9}})
