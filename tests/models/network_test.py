"""Networks of linen and nnx modules: collections, random streams, modes, outputs of submodules."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rdd_jax import models
from rdd_jax.core.types import ModelOutput

EXAMPLE = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
KEY = {"default": jax.random.key(7)}


class LinenNet(nn.Module):
    """Returns logits alone; has batch norm, two dropout layers, and an argument `deterministic`."""

    @nn.compact
    def __call__(self, images, *, deterministic=False):
        x = nn.Conv(3, (3, 3), name="stem")(images)
        x = nn.BatchNorm(use_running_average=deterministic, name="norm")(x)
        for layer in range(2):
            x = nn.Dropout(0.5, deterministic=deterministic, name=f"dropout{layer}")(x)
        return nn.Dense(5, name="head")(x.mean((1, 2)))


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class NnxNet(nnx.Module):
    """The same; it has a list of submodules, and no argument that says whether it trains."""

    def __init__(self, rngs):
        self.blocks = nnx.List([NnxBlock(rngs)])
        self.dropouts = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(3, 5, rngs=rngs)

    def __call__(self, images):
        x = images
        for layer in (*self.blocks, *self.dropouts):
            x = layer(x)
        return self.head(x.mean((1, 2)))


NETWORKS = {
    "linen": models.from_linen(LinenNet(), embedding="dropout1", feature_maps=("stem", "norm")),
    "nnx": models.from_nnx(NnxNet, embedding="dropouts/1", feature_maps=("blocks/0/conv", "blocks/0")),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


def test_a_module_that_returns_logits_gets_embedding_and_maps(network):
    variables = network.init(jax.random.key(0), EXAMPLE)
    assert set(variables) == {"params", "batch_stats"}
    output, updated = network.apply(variables, EXAMPLE, train=False)
    assert updated == {}
    assert [leaf.shape for leaf in (output.logits, output.embedding)] == [(6, 5), (6, 3)]
    assert [leaf.shape for leaf in output.feature_maps] == [(6, 4, 4, 3)] * 2
    np.testing.assert_allclose(output.embedding, output.feature_maps[1].mean((1, 2)), rtol=1e-5)
    head = variables["params"]["head"]
    np.testing.assert_allclose(output.logits, output.embedding @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)


def test_training_changes_the_collections_and_nothing_else_does(network):
    variables = network.init(jax.random.key(0), EXAMPLE)
    _, updated = network.apply(variables, EXAMPLE, train=True, rngs=KEY)
    assert set(updated) == {"batch_stats"}
    assert jax.tree.structure(updated["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    changed = jax.tree.map(lambda new, old: bool(np.any(new != old)), updated["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(changed))


def test_dropout_is_drawn_from_the_given_key(network):
    variables = network.init(jax.random.key(0), EXAMPLE)

    def embedding(key, train=True):
        output, _ = network.apply(variables, EXAMPLE, train=train, rngs={"default": jax.random.key(key)})
        return np.asarray(output.embedding)

    np.testing.assert_array_equal(embedding(1), embedding(1))
    assert np.any(embedding(1) != embedding(2))
    np.testing.assert_array_equal(embedding(1, train=False), embedding(2, train=False))


def test_layers_draw_different_masks():
    class TwoMasks(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])

        def __call__(self, x):
            return ModelOutput(self.layers[0](x), self.layers[1](x))

    ones = np.ones((8, 64), np.float32)
    output, _ = models.from_nnx(TwoMasks).apply({"params": {}}, ones, train=True, rngs=KEY)
    assert 0.3 < np.mean(output.logits != output.embedding) < 0.7


def test_initialisation_follows_the_key(network):
    one, same, other = (network.init(jax.random.key(seed), EXAMPLE)["params"]["head"]["kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_shapes_need_no_computation(network):
    shapes = models.variable_shapes(network, (4, 4, 2))
    assert shapes["params"]["head"]["kernel"].shape == (3, 5)
    assert models.count_parameters(shapes) == 2 * 3 * 9 + 3 + 6 + 3 * 5 + 5
    assert models.count_multiply_adds(network, shapes, (4, 4, 2)) == 4 * 4 * 2 * 3 * 9 + 3 * 5


def test_own_networks_are_the_modules_to_the_bit():
    module = models.create("resnet8", 10)
    variables = models.init(module, jax.random.key(0), (8, 8, 1))
    images = np.ones((2, 8, 8, 1), np.float32)
    direct = jax.make_jaxpr(lambda variables: module.apply(variables, images, train=True, mutable=["batch_stats"]))
    adapted = jax.make_jaxpr(lambda variables: models.from_linen(module).apply(variables, images, train=True, rngs=KEY))
    assert str(direct(variables)) == str(adapted(variables))


class Wrong(nn.Module):
    result: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(3, name="layer")(x.reshape(len(x), -1))
        self.sow("losses", "norm", jnp.sum(x))
        return {"logits": x, "tuple": (x, x), "maps": x[:, None]}[self.result]


@pytest.mark.parametrize(
    ("result", "options", "words"),
    [
        ("tuple", {"embedding": "layer"}, "must return logits [b,classes] or a ModelOutput; got tuple"),
        ("maps", {"embedding": "layer"}, "got shape (6, 1, 3)"),
        ("logits", {}, "needs the path of the submodule whose output is the embedding"),
        ("logits", {"embedding": "layers"}, 'no submodule "layers" was called that returns an array (known: layer)'),
    ],
)
def test_other_results_are_refused(result, options, words):
    network = models.from_linen(Wrong(result), **options)
    variables = network.init(jax.random.key(0), EXAMPLE)
    with pytest.raises(ValueError, match=re.escape(words)):
        network.apply(variables, EXAMPLE, train=False)


def test_a_collection_that_grows_is_refused():
    network = models.from_linen(Wrong("logits"), embedding="layer")
    variables = network.init(jax.random.key(0), EXAMPLE)
    with pytest.raises(ValueError, match='the collection "losses" has other entries'):
        network.apply(variables, EXAMPLE, train=True, rngs=KEY)


def test_collections_are_averaged_over_the_devices(num_devices):
    network = models.synchronized(NETWORKS["linen"], "devices")
    variables = network.init(jax.random.key(0), EXAMPLE)
    images = np.random.default_rng(1).normal(size=(num_devices, *EXAMPLE.shape)).astype(np.float32)

    def statistics(images):
        return network.apply(variables, images, train=True, rngs=KEY)[1]["batch_stats"]["norm"]["mean"]

    means = jax.pmap(statistics, axis_name="devices")(images)
    plain = [NETWORKS["linen"].apply(variables, rows, train=True, rngs=KEY)[1]["batch_stats"] for rows in images]
    expected = np.mean([tree["norm"]["mean"] for tree in plain], axis=0)
    for mean in means:
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)
