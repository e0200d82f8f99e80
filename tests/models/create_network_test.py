"""Networks of the user's own factories: what they may return, mistakes in one line, weights by path."""

import re
import textwrap

import jax
import numpy as np
import pytest

from rdd_jax import models
from rdd_jax.core import user_code
from rdd_jax.core.errors import UserError
from rdd_jax.models import weights
from rdd_jax.models.torch_state_dict import Mismatch

SHAPE = (4, 4, 1)
FILE = """
    import dataclasses

    import flax.linen as nn
    from flax import nnx

    from rdd_jax import ModelOutput, models
    import neighbour


    class Linen(nn.Module):
        num_classes: int
        width: int = neighbour.WIDTH

        @nn.compact
        def __call__(self, images):
            hidden = nn.Dense(self.width, name="hidden")(images.reshape(len(images), -1))
            return ModelOutput(nn.Dense(self.num_classes, name="head")(hidden), hidden)


    class Nnx(nnx.Module):
        def __init__(self, num_classes, rngs):
            self.hidden, self.head = nnx.Linear(16, 3, rngs=rngs), nnx.Linear(3, num_classes, rngs=rngs)

        def __call__(self, images):
            hidden = self.hidden(images.reshape(len(images), -1))
            return ModelOutput(self.head(hidden), hidden)


    def network(num_classes, **sizes):
        return models.from_linen(Linen(num_classes, **sizes))


    def with_dtype(num_classes, dtype, axis_name):
        assert axis_name == "devices"
        return Linen(num_classes, width=2 if dtype == "bfloat16" else 3)


    def fails(num_classes):
        raise KeyError("no such key\\nin two lines")


    def text(num_classes):
        return "a network"


    def nnx_without_rngs(num_classes):
        return Nnx(num_classes, nnx.Rngs(0))


    def linen_with_rngs(num_classes, rngs):
        return Linen(num_classes)


    def eleven(num_classes):
        return Linen(11)


    def fails_later(num_classes):
        return Linen(num_classes, width="wide")


    def needs(num_classes, depth):
        return Linen(num_classes)
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("WIDTH = 3\n")
    path = tmp_path / "own.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.mark.parametrize("factory", ["Linen", "Nnx", "network"])
def test_a_factory_makes_a_network(file, factory):
    models.check_network(f"{file}:{factory}", 10, SHAPE)
    network = models.create_network(f"{file}:{factory}", 10, axis_name="devices")
    shapes = models.variable_shapes(network, SHAPE)
    assert shapes["params"]["head"]["kernel"].shape == (3, 10)


def test_arguments_reach_the_factory(file):
    def width(name, **arguments):
        shapes = models.variable_shapes(models.create_network(f"{file}:{name}", 10, **arguments), SHAPE)
        return shapes["params"]["hidden"]["kernel"].shape[1]

    assert width("Linen", width=5) == width("network", width=5) == 5
    assert width("with_dtype", dtype="bfloat16", axis_name="devices") == 2


def test_a_factory_of_an_installed_module():
    made = models.create_network("rdd_jax.models.mobilenet:MobileNetV2", 10)
    ours = models.create_network("mobilenetv2", 10)
    assert models.variable_shapes(made, (8, 8, 1)) == models.variable_shapes(ours, (8, 8, 1))


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("missing", 'own.py: unknown function "missing"'),
        ("fails", "own.py:fails fails: KeyError: 'no such key"),
        ("text", "own.py:text must return a linen module, an nnx module or a Network; got str"),
        ("nnx_without_rngs", "own.py:nnx_without_rngs returns an nnx module: give it an argument rngs"),
        ("linen_with_rngs", "own.py:linen_with_rngs takes rngs and must return an nnx module; got Linen"),
        ("eleven", "own.py:eleven returns logits of shape (2, 11) for 2 images, and the data have 10 classes"),
        ("fails_later", "own.py:fails_later, for images of (4, 4, 1), fails: "),
        ("needs", "own.py:needs needs its argument depth: give it by kwargs.depth=VALUE"),
    ],
)
def test_a_mistake_is_one_line(file, factory, words):
    with pytest.raises(UserError, match=re.escape(words)) as error:
        models.check_network(f"{file}:{factory}", 10, SHAPE)
    assert "\n" not in str(error.value)


def test_arguments_that_a_factory_has_not(file):
    with pytest.raises(UserError, match=r'own\.py:Nnx has no argument "width"; it has num_classes, rngs'):
        models.create_network(f"{file}:Nnx", 10, width=3)
    with pytest.raises(UserError, match=r"own\.py:network has no argument dtype"):
        models.create_network(f"{file}:network", 10, dtype="bfloat16")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere/own.py:network", "there is no file nowhere/own.py: give its present place, as PLACE/own.py:network"),
        ("no.such_module:network", "no fails: ModuleNotFoundError|no.such_module fails: ModuleNotFoundError"),
        ("nomodule:network", 'there is no Python module "nomodule"'),
    ],
)
def test_a_missing_file_is_named(reference, words):
    with pytest.raises(UserError, match=words):
        models.create_network(reference, 10)


@pytest.mark.parametrize("content", ["def f(:", "import nothing_like_that", "1 / 0"])
def test_a_file_that_fails_is_named(tmp_path, content):
    (tmp_path / "broken.py").write_text(content)
    with pytest.raises(UserError, match=r"broken\.py fails: (SyntaxError|ModuleNotFoundError|ZeroDivisionError): "):
        models.create_network(f"{tmp_path / 'broken.py'}:f", 10)


def test_a_changed_file_is_run_again(tmp_path):
    path = tmp_path / "changing.py"
    path.write_text("def value(): return 1")
    before = user_code.fingerprint(f"{path}:value")
    assert user_code.load(f"{path}:value") is user_code.load(f"{path}:value")
    path.write_text("def value(): return 2")
    assert user_code.load(f"{path}:value")() == 2
    assert user_code.fingerprint(f"{path}:value") != before


def test_weights_are_stored_by_path(file, tmp_path):
    import safetensors.numpy

    name, path = f"{file}:Linen", tmp_path / "weights.safetensors"
    variables = models.init(models.create_network(name, 10), jax.random.key(0), SHAPE)
    safetensors.numpy.save_file(weights.to_arrays(name, variables), path)
    assert set(safetensors.numpy.load_file(path)) >= {"params/hidden/kernel", "params/head/bias"}
    jax.tree.map(np.testing.assert_array_equal, weights.load(path, name, 10, SHAPE), variables)
    with pytest.raises(Mismatch, match=r"is not a own.py:Linen: params/head/kernel is \(3, 10\) there"):
        weights.load(path, name, 10, SHAPE, width=4)
    with pytest.raises(UserError, match=r"must be a \.safetensors file"):
        weights.load(tmp_path / "weights.pth", name, 10, SHAPE)
