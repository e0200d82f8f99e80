"""The networks: their sizes by the papers' arithmetic, what they show, how they start, and batch norm over devices."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax import models
from rdd_jax.models.resnet import ResNet

AXIS = "devices"
CIFAR = (32, 32, 3)
# As RepDistiller's code has them, at 100 classes.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
}


def images(rows, *shape):
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)


def tiny(**options):
    return ResNet(num_classes=5, depth=8, widths=(4, 4, 8, 8), **options)


@functools.cache
def tiny_variables():
    """Random ones, statistics included; no need to compile the initialisation."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: models.init(tiny(), jax.random.key(0), (8, 8, 1)))
    return jax.tree.map(lambda x: jnp.asarray(rng.uniform(-1 if x.ndim > 1 else 0.5, 1, size=x.shape), x.dtype), shapes)


@functools.cache
def variables_of(name, shape=CIFAR):
    return jax.eval_shape(lambda: models.init(models.create(name, 100), jax.random.key(0), shape))


def resnet_cost(depth, widths, size, classes):
    """(parameters, multiply-adds) by hand: 3x3 convolutions, a 1x1 where the width changes, two numbers a channel."""
    convs = [(3, widths[0], 3, size)]
    width = widths[0]
    for stage, features in enumerate(widths[1:]):
        side = size >> stage
        for _ in range((depth - 2) // 6):
            convs += [(width, features, 3, side), (features, features, 3, side)]
            convs += [(width, features, 1, side)] if width != features else []
            width = features
    parameters = sum(i * o * k * k + 2 * o for i, o, k, _ in convs) + (width + 1) * classes
    return parameters, sum(i * o * k * k * side**2 for i, o, k, side in convs) + width * classes


def test_every_model_has_a_published_size():
    assert set(models.MODELS) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_size(name):
    depth, _, wide = name.removeprefix("resnet").partition("x")
    widths = (32, 64, 128, 256) if wide else (16, 16, 32, 64)
    parameters, multiply_adds = resnet_cost(int(depth), widths, 32, 100)
    assert models.count_parameters(variables_of(name)) == PARAMETERS[name] == parameters
    assert models.count_multiply_adds(models.create(name, 100), variables_of(name), CIFAR) == multiply_adds


def test_resnet20_costs_what_the_paper_says():
    counted = models.count_multiply_adds(models.create("resnet20", 100), variables_of("resnet20"), CIFAR)
    assert counted / 1e6 == pytest.approx(40.8, abs=0.05)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 31, 3), CIFAR])
@pytest.mark.parametrize(("name", "widths"), [("resnet8", (16, 16, 32, 64)), ("resnet8x4", (32, 64, 128, 256))])
def test_features_of_any_image(name, widths, shape):
    model = models.create(name, 7)
    variables = jax.eval_shape(lambda: models.init(model, jax.random.key(0), shape))
    apply = functools.partial(model.apply, train=False)
    logits, features = jax.eval_shape(apply, variables, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
    assert logits.shape == (2, 7)
    assert features.embedding.shape == (2, widths[-1])
    sides = [tuple(math.ceil(side / scale) for side in shape[:2]) for scale in (1, 1, 2, 4)]
    assert [x.shape for x in features.maps] == [(2, *side, width) for side, width in zip(sides, widths, strict=True)]


def test_embedding_and_logits_come_from_the_last_map():
    logits, features = jax.jit(functools.partial(tiny().apply, train=False))(tiny_variables(), images(3, 8, 8, 1))
    classifier = tiny_variables()["params"]["classifier"]
    assert all((x >= 0).all() for x in features.maps)
    np.testing.assert_allclose(features.embedding, features.maps[-1].mean((1, 2)), rtol=1e-5)
    expected = np.asarray(features.embedding) @ np.asarray(classifier["kernel"]) + np.asarray(classifier["bias"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_initial_variables():
    variables = jax.jit(lambda rng: models.init(models.create("resnet8", 100), rng, CIFAR))(
        jax.random.key(0, impl="rbg")  # Compiles much faster than the default, and is as random.
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        name = jax.tree_util.keystr(path)
        if leaf.ndim == 4:
            kernel, _, _, features = leaf.shape
            # The estimate of a variance from n normal numbers spreads by sqrt(2 / n): five of those.
            np.testing.assert_allclose(
                np.var(leaf), 2 / (kernel**2 * features), rtol=5 * (2 / leaf.size) ** 0.5, err_msg=name
            )
        elif "classifier" in name:
            bound = 64**-0.5  # U(-bound, bound), weights and biases.
            assert 0.9 * bound < np.abs(leaf).max() <= bound
            np.testing.assert_allclose(np.std(leaf), bound / 3**0.5, rtol=0.2 if leaf.ndim == 1 else 0.02)
        else:
            assert (leaf == ("scale" in name)).all(), name


def test_bfloat16_is_for_the_computation_alone():
    def apply(**options):
        model = functools.partial(tiny(**options).apply, train=True, mutable=["batch_stats"])
        return jax.jit(model)(tiny_variables(), images(4, 8, 8, 1))

    half = jax.eval_shape(lambda: models.init(tiny(dtype=jnp.bfloat16), jax.random.key(0), (8, 8, 1)))
    assert {x.dtype.name for x in jax.tree.leaves(half)} == {"float32"}
    (logits, features), updates = apply(dtype=jnp.bfloat16)
    assert {x.dtype.name for x in features.maps} == {"bfloat16"}
    assert {x.dtype.name for x in (logits, features.embedding, *jax.tree.leaves(updates))} == {"float32"}
    (exact, _), _ = apply()
    # Nine layers, each rounded to eight bits.
    np.testing.assert_allclose(logits, exact, atol=0.05 * np.abs(exact).max())


def test_batch_norm_over_devices_is_that_of_the_global_batch():
    x = images(8, 8, 8, 1)
    variables = tiny_variables()

    def apply(model, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])

    (logits, features), updates = jax.jit(lambda x: apply(tiny(), x))(x)
    mapped = jax.vmap(lambda x: apply(tiny(axis_name=AXIS), x), axis_name=AXIS)
    (split_logits, split_features), split_updates = jax.jit(mapped)(x.reshape(4, 2, 8, 8, 1))

    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)  # Sums in another order, nine layers.
    close(split_logits.reshape(8, -1), logits)
    close(split_features.embedding.reshape(8, -1), features.embedding)
    jax.tree.map(lambda split, one: close(split, np.stack([one] * 4)), split_updates, updates)

    layout = ("NHWC", "HWIO", "NHWC")
    stem = jax.lax.conv_general_dilated(
        x, variables["params"]["conv1"]["kernel"], (1, 1), "SAME", dimension_numbers=layout
    )
    statistics = updates["batch_stats"]["bn1"]  # Torch's momentum of 0.1: a tenth of the new.
    before = variables["batch_stats"]["bn1"]
    close(statistics["mean"], 0.9 * before["mean"] + 0.1 * stem.mean((0, 1, 2)))
    close(statistics["var"], 0.9 * before["var"] + 0.1 * stem.var((0, 1, 2)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet9", 'unknown model "resnet9"; did you mean "resnet'), ("vgg", r'unknown model "vgg" \(known: resnet8,')],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10)
