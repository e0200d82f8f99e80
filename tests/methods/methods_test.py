"""Every method keeps the contract of `Distiller`, and so do sums of them; methods by name."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import (
    BATCH,
    EMBEDDINGS,
    LABELS,
    ROWS,
    SMALL,
    STUDENT,
    TEACHER,
    compiled,
    create,
    evaluate,
    outputs,
    refreshed,
    start,
    teacher_outputs,
)

from rdd_jax import methods
from rdd_jax.core import devices
from rdd_jax.core.types import Distiller


def types(tree):
    return jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)


def assert_finite(tree):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


# What holds for every method.

every_method = pytest.mark.parametrize("name", methods.METHODS)


def test_every_file_of_a_method_is_registered_and_exported():
    shared = {"from_loss", "registry", "scheduled", "weighted_sum"}
    files = {path.stem for path in Path(methods.__file__).parent.glob("[!_]*.py")} - shared
    assert files == methods.METHODS.keys()
    assert all(getattr(methods, name) is factory for name, factory in methods.METHODS.items())


@every_method
def test_declares_whether_it_needs_feature_maps(name):
    distiller = create(name)
    params, state = start(distiller)

    def loss(student, teacher):
        return distiller.loss(params, state, student, teacher, BATCH, rng=jax.random.key(0))[0]

    bare = [outputs._replace(feature_maps=()) for outputs in (STUDENT, TEACHER)]
    if distiller.needs_feature_maps:
        with pytest.raises((ValueError, IndexError)):
            jax.eval_shape(loss, *bare)
    else:
        assert jax.eval_shape(loss, *bare).shape == ()
    summed = methods.weighted_sum({"ce": (1.0, create("ce")), name: (1.0, distiller)})
    assert summed.needs_feature_maps == distiller.needs_feature_maps


@every_method
def test_declares_whether_it_needs_labels(name):
    distiller = create(name)

    def loss():
        params, state = distiller.init(jax.random.key(0), STUDENT, TEACHER)
        batch = BATCH._replace(labels=None)
        return distiller.loss(params, state, STUDENT, TEACHER, batch, rng=jax.random.key(0))[0]

    if distiller.needs_labels:
        with pytest.raises((TypeError, ValueError, AttributeError)):
            jax.eval_shape(loss)
    else:
        assert jax.eval_shape(loss).shape == ()
    summed = methods.weighted_sum({"kd": (1.0, create("kd")), name: (1.0, distiller)})
    assert summed.needs_labels == distiller.needs_labels


@every_method
def test_init_runs_under_eval_shape(name):
    init = functools.partial(create(name).init, jax.random.key(0))
    shapes = jax.eval_shape(lambda: (STUDENT, TEACHER))
    assert types(jax.eval_shape(init, *shapes)) == types(start(create(name)))


@every_method
def test_steps_compile_once_and_stay_finite(name):
    """In bfloat16; other tests are in float32."""
    dtype = "bfloat16"
    distiller, traces = create(name), []

    @jax.jit
    def step(params, state, student, teacher):
        traces.append(name)
        return evaluate(distiller, params, state, student, teacher)

    params, state = refreshed(distiller)
    before = types((params, state))
    student, teacher = outputs(0, 6, dtype), teacher_outputs(dtype)
    # All equal, duplicated, random.
    for rows in (np.zeros(ROWS, int), np.arange(ROWS) % 3, np.arange(ROWS)):
        value, gradients, state, metrics = step(
            params, state, jax.tree.map(lambda x, rows=rows: x[rows], student), teacher
        )
        assert types(value) == ((), "float32")
        assert_finite((value, gradients, state, metrics))
        assert types((gradients[0], state)) == before
        assert types(gradients[1]) == types(student)
    assert any(leaf.any() for leaf in jax.tree.leaves(gradients))
    assert len(traces) == 1


NOTHING_TO_LEARN = ("kd", "dkd", "at", "nst", "pkt", "sp", "rkd")  # From a teacher that is the student, say the papers.


@pytest.mark.parametrize("name", NOTHING_TO_LEARN)
def test_teacher_equal_to_student(name):
    params, state = create(name).init(jax.random.key(0), STUDENT, STUDENT)
    value, (heads, rows), _, metrics = compiled(create(name))(params, state, STUDENT, STUDENT)
    assert_finite((value, heads, rows, metrics))
    # 2e-6: rkd is 75 times the square of a rounding, the others less.
    np.testing.assert_allclose(value, 0.0, atol=2e-6)
    assert all(np.abs(leaf).max() < 1e-5 for leaf in jax.tree.leaves(rows))


@every_method
def test_no_gradient_reaches_the_teacher(name):
    distiller = create(name)
    params, state = refreshed(distiller)

    def loss(teacher):
        return distiller.loss(params, state, STUDENT, teacher, BATCH, rng=jax.random.key(0), axis_name=None)[0]

    assert not any(leaf.any() for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(TEACHER)))


@every_method
def test_a_batch_of_one_row_is_finite(name):
    """One row: the relations of a batch are none, and nothing divides by their number."""
    student, teacher, batch = jax.tree.map(lambda x: x[:1], (STUDENT, TEACHER, BATCH))
    assert_finite(compiled(create(name))(*refreshed(create(name)), student, teacher, batch=batch))


@every_method
def test_several_devices_equal_one(name, num_devices):
    """Loss, gradients and state, and the banks on the devices must not drift apart."""
    distiller = create(name)
    params, state = refreshed(distiller)

    def on_one_device(params, state, student, teacher, batch):
        return evaluate(distiller, params, state, student, teacher, batch=batch, seed=1, axis_name=devices.AXIS)

    # Seed 1 has RDD draw negatives that some devices must leave out, and others not.
    one = compiled(distiller)(params, state, seed=1)
    # Float32 sums in another order, and exp(q.v/0.07) magnifies the rounding of q.v fourteenfold.
    assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    split = jax.tree.map(lambda x: x.reshape(num_devices, ROWS // num_devices, *x.shape[1:]), (STUDENT, TEACHER, BATCH))

    run = devices.data_parallel(on_one_device, in_axes=(None, None, 0, 0, 0))
    real = run(*devices.replicate((params, state)), *split)
    jax.tree.map(assert_close, real, one)
    for leaf in jax.tree.leaves(real[2]):
        copies = devices.per_device_copies(leaf)
        assert len(copies) == num_devices
        assert all(np.array_equal(copy, copies[0]) for copy in copies)


# Sums of methods.


def probe(value, mines=False):
    """A method whose loss is `value`, which shows its random draw and counts its refreshes in its state."""

    def init(rng, student_shapes, teacher_shapes):
        return {"scale": jnp.ones(())}, jnp.zeros((), jnp.int32)

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return value * params["scale"], (state, {"draw": jax.random.uniform(rng)})

    def refresh(state, student_embeddings, teacher_embeddings, rng, *, axis_name=None):
        return state + len(student_embeddings)

    return Distiller(
        init, loss, refresh if mines else None, histograms=lambda state: {"refreshes": state[None]} if mines else {}
    )


def test_weighted_sum():
    both = methods.weighted_sum({"a": (0.5, probe(3.0)), "b": (2.0, probe(5.0))})
    params, state = start(both)
    assert set(params) == set(state) == {"a", "b"}
    value, (gradients, _), _, metrics = compiled(both)(params, state)
    assert value == 0.5 * 3 + 2 * 5
    assert gradients == {"a": {"scale": 1.5}, "b": {"scale": 10.0}}
    assert set(metrics) == {"a/loss", "a/draw", "b/loss", "b/draw"}
    assert (metrics["a/loss"], metrics["b/loss"]) == (3.0, 5.0)
    assert both.refresh is None


def test_another_term_does_not_change_random_draws():
    def metrics(**terms):
        summed = methods.weighted_sum({name: (1.0, distiller) for name, distiller in terms.items()})
        return compiled(summed)(*start(summed))[3]

    alone, beside = metrics(a=probe(1.0)), metrics(b=probe(1.0), a=probe(1.0))
    assert beside["a/draw"] == alone["a/draw"]
    assert beside["b/draw"] != alone["a/draw"]


def test_sums_nest_and_pass_the_refresh_through():
    inner = methods.weighted_sum({"mines": (2.0, probe(3.0, mines=True)), "idle": (1.0, probe(1.0))})
    outer = methods.weighted_sum({"sum": (0.5, inner), "idle": (1.0, probe(1.0))})
    params, state = start(outer)
    value, _, state, metrics = compiled(outer)(params, state)
    assert value == 0.5 * (2 * 3 + 1) + 1
    assert {"sum/loss", "sum/mines/loss", "sum/mines/draw", "idle/loss"} <= set(metrics)
    refreshed = outer.refresh(state, *EMBEDDINGS, jax.random.key(0), axis_name=None)
    assert refreshed == {"sum": {"mines": len(LABELS), "idle": 0}, "idle": 0}
    assert outer.histograms(refreshed) == {"sum/mines/refreshes": len(LABELS)}


def test_a_sum_needs_a_term():
    with pytest.raises(ValueError, match="at least one"):
        methods.weighted_sum({})


# Names and options.


def test_options_are_those_of_the_signature():
    assert methods.options("kd") == {"temperature": 4.0, "standardize": False}
    assert methods.options("pkt") == {}
    crd = {"dim": 128, "num_negatives": 16384, "temperature": 0.07, "momentum": 0.5}
    assert methods.options("crd") == crd
    assert crd.items() <= methods.options("rdd").items()


def test_from_options_leaves_weight_0_out():
    distill = {"ce": {"weight": 0.25}, "kd": {"weight": 0.5, "temperature": 2.0}, "crd": {"weight": 0.0, **SMALL}}
    summed = methods.from_options(distill, LABELS)
    assert set(start(summed)[1]) == {"ce", "kd"}
    value, _, _, metrics = compiled(summed)(*start(summed))
    np.testing.assert_allclose(value, 0.25 * metrics["ce/loss"] + 0.5 * metrics["kd/loss"], rtol=1e-6)
    kd = create("kd", temperature=2.0)
    np.testing.assert_allclose(metrics["kd/loss"], compiled(kd)(*start(kd))[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        ({"ce": 1.0, "kd": 0.9, "rdd": 0.8, "crd": 0.0}, "rdd"),
        ({"ce": 1.0, "kd": 0.0, "rdd": 0.8}, "rdd_alone"),
        ({"ce": 1.0, "kd": 0.9, "rdd": 0.5}, "kd+rdd"),
        ({"ce": 1.0, "kd": 0.9, "crd": 0.8, "rdd": 0.8}, "kd+crd+rdd"),
        ({"ce": 1.0, "kd": 0.0}, "ce"),
    ],
)
def test_label(weights, label):
    assert methods.label({name: {"weight": weight} for name, weight in weights.items()}) == label


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rddd", {}, 'unknown method "rddd"; did you mean "rdd"'),
        ("zzzz", {}, r'unknown method "zzzz" \(known: ce'),
        ("kd", {"temprature": 1.0}, 'kd has no option "temprature"; it has temperature, standardize'),
        ("pkt", {"dim": 1}, 'pkt has no option "dim"; it has none'),
        ("kd", {"temperature": 0.0}, "temperature must be above 0; got 0.0"),
        ("ce", {"smoothing": 1.5}, r"smoothing must be in \[0, 1\]; got 1.5"),
        ("dkd", {"beta": -1.0}, "must not be negative, and one above 0, temperature above 0; got 1.0, -1.0 and 4.0"),
        ("dist", {"temperature": 0.0}, "temperature above 0; got 1.0, 1.0 and 0.0"),
        ("ttm", {"power": 0.0}, "power must be above 0; got 0.0"),
        ("nkd", {"gamma": -1.0}, "gamma must not be negative, temperature above 0; got -1.0 and 1.0"),
        ("rld", {"alpha": 0.0, "beta": 0.0}, "and one above 0, temperature above 0; got 0.0, 0.0 and 4.0"),
        ("fitnets", {"layer": -1}, "must not be negative; got -1"),
        ("at", {"power": 3}, "even and at least 2; got 3"),
        ("vid", {"initial_variance": 0.0}, "above 1e-05; got 0.0"),
        ("cc", {"dim": 0}, "at least 1; got 0"),
        ("rkd", {"angle_weight": -1.0}, "must not be negative, and one above 0; got 25.0 and -1.0"),
        ("rkd", {"distance_weight": float("inf")}, "distance_weight must be finite; got inf"),
        ("srd", {"exponent": 0.5}, "exponent must be at least 1, .* got 0.5, 2.0 and 1.0"),
        ("itrd", {"alpha": 0.0}, "alpha above 0; got 2.0, 1.0 and 0.0"),
        ("crd", {"dim": 0}, "at least 1; got 0"),
        ("crd", {"num_negatives": 0}, "at least 1; got 128 and 0"),
        ("rdd", {"temperature": float("nan")}, "temperature must be finite; got nan"),
        ("rdd", {"momentum": 1.0}, r"momentum must be in \[0, 1\); got 1.0"),
        ("rrd", {"memory": "lifo"}, 'must be "queue" or "momentum"; got "lifo"'),
        ("rrd", {"teacher_temperature": 0.0}, "temperature must be at least 0.02; got 0.0"),
        ("crd", {"temperature": 0.011}, "temperature must be at least 0.02; got 0.011"),
        ("rrd", {"teacher_temperature": float("nan")}, "teacher_temperature must be finite; got nan"),
        ("rkd", {"distance_weight": 0.0, "angle_weight": 0.0}, "one above 0; got 0.0 and 0.0"),
        ("rdx_triplet", {"beta": 0.0}, "must be above 0; got 0.1, 0.0, 512"),
        ("rdx_triplet", {"momentum": 1.0}, r"momentum must be in \[0, 1\); got 1.0"),
        ("rdd", {"pool_size": 24}, r"pool_size must be in \[1, 23\].* got 24"),
        ("rdd", {"pool_size": 5, "uniform_negatives": 1.5}, r"share in \[0, 1\]; got 1.5"),
        ("rdd", {"pool_size": 5, "positives": "a10"}, 'must be "a01" or "self"; got "a10"'),
    ],
)
def test_unknown_or_impossible_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        methods.create(name, LABELS, **options)


def test_labels_are_needed_and_must_differ():
    with pytest.raises(ValueError, match="crd needs the labels"):
        methods.create("crd")
    with pytest.raises(ValueError, match="all training labels are the same"):
        methods.create("crd", np.zeros(8, np.int32))
    unlabelled = np.full(8, -1)
    for name, options in (("crd", {}), ("rdd", {"same_class_negatives": False, "pool_size": 4})):
        with pytest.raises(ValueError, match=f"{name}: every example needs a label, and 8 of the 8"):
            methods.create(name, unlabelled, **options)
    assert not methods.create("rdd", unlabelled, pool_size=4).needs_labels


@pytest.mark.parametrize("weights", [{}, {"ce": 0.0}, {"ce": 1.0, "kd": -0.5}, {"kd": float("inf")}])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        methods.from_options({name: {"weight": weight} for name, weight in weights.items()}, LABELS)
