"""The networks' numbers: what they show, how they start, PyTorch's own results, and batch norm over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS

from rdd_jax import models
from rdd_jax.models import layers
from rdd_jax.models.resnet import ResNet
from rdd_jax.models.shufflenet import channel_shuffle
from rdd_jax.models.torch_state_dict import to_state_dict

AXIS = "devices"
CIFAR = (32, 32, 3)


def images(rows, *shape):
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)


def tiny(**options):
    return ResNet(num_classes=5, depth=8, widths=(4, 4, 8, 8), **options)


def random_variables(model, image_shape):
    """As if trained, statistics included; no need to compile the initialisation."""
    rng = np.random.default_rng(0)

    def draw(path, x):
        if x.ndim > 1:
            bound = (3 / np.prod(x.shape[:-1])) ** 0.5  # Keeps the scale.
            return rng.uniform(-bound, bound, x.shape).astype(x.dtype)
        centre = 1 if path[-1].key in ("scale", "var") else 0
        return rng.uniform(centre - 0.5, centre + 0.5, x.shape).astype(x.dtype)

    return jax.tree_util.tree_map_with_path(draw, models.variable_shapes(model, image_shape))


@functools.cache
def tiny_variables():
    return random_variables(tiny(), (8, 8, 1))


@pytest.mark.parametrize("name", ["resnet50", "vgg13", "mobilenetv2", "shufflev1", "shufflev2"])
def test_agrees_with_pytorch(name):
    """At odd sides too, where a convolution of stride 2 shows how it is padded."""
    golden = dict(np.load(GOLDENS / "networks.npz"))
    model = models.create(name, 7)
    variables = random_variables(model, (18, 14, 3))
    assert set(to_state_dict(variables)) == set(str(golden[f"{name}_names"]).split())
    outputs = jax.jit(functools.partial(model.apply, train=False))(variables, images(2, 18, 14, 3))
    shown = [outputs.logits, outputs.embedding, *(x.mean((1, 2)) for x in outputs.feature_maps)]
    for key, value in zip(["logits", "embedding", *(f"map{i}" for i in range(5))], shown, strict=False):
        expected = golden.pop(f"{name}_{key}")
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=key)
    assert not [key for key in golden if key.startswith(f"{name}_map")]


def test_channel_shuffle():
    x = np.arange(12.0)
    # Channel i of the result is that of group i % 3, at place i // 3.
    np.testing.assert_array_equal(channel_shuffle(x[None], 3)[0], [x[i % 3 * 4 + i // 3] for i in range(12)])


def test_embedding_and_logits_come_from_the_last_map():
    outputs = jax.jit(functools.partial(tiny().apply, train=False))(tiny_variables(), images(3, 8, 8, 1))
    classifier = tiny_variables()["params"]["fc"]
    assert all((x >= 0).all() for x in outputs.feature_maps)
    np.testing.assert_allclose(outputs.embedding, outputs.feature_maps[-1].mean((1, 2)), rtol=1e-5)
    expected = np.asarray(outputs.embedding) @ np.asarray(classifier["kernel"]) + np.asarray(classifier["bias"])
    np.testing.assert_allclose(outputs.logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


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
        elif "fc" in name:
            bound = 64**-0.5  # U(-bound, bound), weights and biases.
            assert 0.9 * bound < np.abs(leaf).max() <= bound
            np.testing.assert_allclose(np.std(leaf), bound / 3**0.5, rtol=0.2 if leaf.ndim == 1 else 0.02)
        else:
            assert (leaf == ("scale" in name)).all(), name


def test_convolutions_in_groups_start_by_the_same_rule():
    conv = layers.conv(512, 3, groups=2, use_bias=True, dtype=jnp.float32, name="conv")
    params = jax.jit(conv.init)(jax.random.key(0, impl="rbg"), jnp.zeros((1, 2, 2, 4)))["params"]
    assert params["kernel"].shape == (3, 3, 2, 512)
    np.testing.assert_allclose(np.var(params["kernel"]), 2 / (3**2 * 512), rtol=5 * (2 / params["kernel"].size) ** 0.5)
    assert (params["bias"] == 0).all()


def test_parameters_are_float32_in_bfloat16_computation():
    def apply(**options):
        model = functools.partial(tiny(**options).apply, train=True, mutable=["batch_stats"])
        return jax.jit(model)(tiny_variables(), images(4, 8, 8, 1))

    half = jax.eval_shape(lambda: models.init(tiny(dtype=jnp.bfloat16), jax.random.key(0), (8, 8, 1)))
    assert {x.dtype.name for x in jax.tree.leaves(half)} == {"float32"}
    outputs, updates = apply(dtype=jnp.bfloat16)
    assert {x.dtype.name for x in outputs.feature_maps} == {"bfloat16"}
    assert {x.dtype.name for x in (outputs.logits, outputs.embedding, *jax.tree.leaves(updates))} == {"float32"}
    exact, _ = apply()
    # Nine layers, each rounded to eight bits.
    np.testing.assert_allclose(outputs.logits, exact.logits, atol=0.05 * np.abs(exact.logits).max())


def test_batch_norm_over_devices_is_that_of_the_global_batch():
    x = images(8, 8, 8, 1)
    variables = tiny_variables()

    def apply(model, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])

    outputs, updates = jax.jit(lambda x: apply(tiny(), x))(x)
    mapped = jax.vmap(lambda x: apply(tiny(axis_name=AXIS), x), axis_name=AXIS)
    split, split_updates = jax.jit(mapped)(x.reshape(4, 2, 8, 8, 1))

    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)  # Sums in another order, nine layers.
    close(split.logits.reshape(8, -1), outputs.logits)
    close(split.embedding.reshape(8, -1), outputs.embedding)
    jax.tree.map(lambda split, one: close(split, np.stack([one] * 4)), split_updates, updates)

    layout = ("NHWC", "HWIO", "NHWC")
    stem = jax.lax.conv_general_dilated(
        x, variables["params"]["conv1"]["kernel"], (1, 1), "SAME", dimension_numbers=layout
    )
    statistics = updates["batch_stats"]["bn1"]  # Torch's momentum of 0.1: a tenth of the new.
    before = variables["batch_stats"]["bn1"]
    close(statistics["mean"], 0.9 * before["mean"] + 0.1 * stem.mean((0, 1, 2)))
    close(statistics["var"], 0.9 * before["var"] + 0.1 * stem.var((0, 1, 2)))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wrn_16_1", "vgg8", "mobilenetv2", "shufflev1", "shufflev2"])
def test_every_batch_norm_is_synchronised(name):
    """One mean over the devices for each in training, none in evaluation."""
    variables = models.variable_shapes(models.create(name, 5), (8, 8, 1))
    model = models.create(name, 5, axis_name=AXIS)

    def means(**options):
        apply = functools.partial(model.apply, **options)
        jaxpr = jax.make_jaxpr(apply, axis_env=[(AXIS, 4)])(variables, images(2, 8, 8, 1)).jaxpr
        return sum(equation.primitive.name == "psum" for equation in jaxpr.eqns)

    assert means(train=True, mutable=["batch_stats"]) == len(jax.tree.leaves(variables["batch_stats"])) // 2
    assert means(train=False) == 0
