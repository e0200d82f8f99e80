"""The networks by name: their sizes by the papers' arithmetic, and the shapes that they show of any image."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from networks import CIFAR, ONE_OF_EACH, PARAMETERS, variables_of

from rdd_jax import models
from rdd_jax.core.types import ModelOutput
from rdd_jax.models import layers
from rdd_jax.models.resnet import ResNet

WIDE = ("resnet8x4", "resnet32x4")
IMAGENET_RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
RESNETS = [name for name in PARAMETERS if name.startswith("resnet") and name not in IMAGENET_RESNETS]
WIDE_RESNETS = [name for name in PARAMETERS if name.startswith("wrn")]
VGGS = {"vgg8": (1, 1, 1, 1, 1), "vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2)}
VGGS |= {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# Channels of the maps, the length of the embedding, and by how much the sides of the maps are shorter than the image's.
SHOWN = {
    **{name: ((16, 16, 32, 64), 64, (1, 1, 2, 4)) for name in RESNETS},
    **{name: ((32, 64, 128, 256), 256, (1, 1, 2, 4)) for name in WIDE},
    **{name: ((64, 64, 128, 256, 512), 512, (1, 1, 2, 4, 8)) for name in ("resnet18", "resnet34")},
    "resnet50": ((64, 256, 512, 1024, 2048), 2048, (1, 1, 2, 4, 8)),
    **{f"wrn_{depth}_1": ((16, 16, 32, 64), 64, (1, 1, 2, 4)) for depth in (16, 40)},
    **{f"wrn_{depth}_2": ((16, 32, 64, 128), 128, (1, 1, 2, 4)) for depth in (16, 40)},
    **{name: ((64, 128, 256, 512, 512), 512, (1, 2, 4, 8, 8)) for name in VGGS},
    "mobilenetv2": ((16, 12, 16, 48, 160), 1280, (2, 2, 4, 8, 16)),
    "shufflev1": ((24, 240, 480, 960), 960, (1, 2, 4, 8)),
    "shufflev2": ((24, 116, 232, 464), 1024, (1, 2, 4, 8)),
}


def outputs_of(name, shape, **options):
    """(outputs, variables) of two images, as shapes: one trace for both."""
    model = models.create(name, 7, **options)
    images = jnp.zeros((2, *shape))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))


def cost(convs, normalised, embedding, biases=0):
    """(parameters, multiply-adds) of convolutions (inputs, outputs, kernel, side) and a linear layer to 100 classes."""
    parameters = sum(i * o * k * k for i, o, k, _ in convs) + 2 * normalised + biases + (embedding + 1) * 100
    return parameters, sum(i * o * k * k * side**2 for i, o, k, side in convs) + embedding * 100


def outputs(convs):
    return sum(o for _, o, _, _ in convs)


def resnet_cost(name):
    """3x3 convolutions, a 1x1 where the width changes, each with its batch norm."""
    depth, _, wide = name.removeprefix("resnet").partition("x")
    width, *stages = (32, 64, 128, 256) if wide else (16, 16, 32, 64)
    convs = [(3, width, 3, 32)]
    for side, features in zip((32, 16, 8), stages, strict=True):
        for _ in range((int(depth) - 2) // 6):
            convs += [(width, features, 3, side), (features, features, 3, side)]
            convs += [(width, features, 1, side)] if width != features else []
            width = features
    return cost(convs, outputs(convs), width)


def imagenet_resnet_cost(name):
    """A first block projects its shortcut where the width changes.

    Basic blocks are two 3x3; bottlenecks are 1x1 at the side of the stage before, 3x3 and 1x1 at the stage's own.
    """
    convs, width, before = [(3, 64, 3, 32)], 64, 32
    for side, narrow, blocks in zip((32, 16, 8, 4), (64, 128, 256, 512), IMAGENET_RESNETS[name], strict=True):
        wide = 4 * narrow if name == "resnet50" else narrow
        convs += [(width, wide, 1, side)] if width != wide else []
        for _ in range(blocks):
            if name == "resnet50":
                convs += [(width, narrow, 1, before), (narrow, narrow, 3, side), (narrow, wide, 1, side)]
            else:
                convs += [(width, narrow, 3, side), (narrow, narrow, 3, side)]
            width, before = wide, side
    return cost(convs, outputs(convs), width)


def wide_resnet_cost(name):
    """Batch norm before every 3x3 convolution but the stem and after the last; none at the projections."""
    depth, widening = (int(number) for number in name.split("_")[1:])
    convs, normalised, width = [(3, 16, 3, 32)], 0, 16
    for side, features in ((32, 16 * widening), (16, 32 * widening), (8, 64 * widening)):
        for _ in range((depth - 4) // 6):
            convs += [(width, features, 3, side), (features, features, 3, side)]
            convs += [(width, features, 1, side)] if width != features else []
            normalised += width + features
            width = features
    return cost(convs, normalised + width, width)


def vgg_cost(name):
    """3x3 convolutions with biases, each with its batch norm."""
    convs, width = [], 3
    for side, features, count in zip((32, 16, 8, 4, 4), (64, 128, 256, 512, 512), VGGS[name], strict=True):
        for _ in range(count):
            convs += [(width, features, 3, side)]
            width = features
    return cost(convs, outputs(convs), width, biases=outputs(convs))


COSTS = {name: functools.partial(resnet_cost, name) for name in RESNETS}
COSTS |= {name: functools.partial(imagenet_resnet_cost, name) for name in IMAGENET_RESNETS}
COSTS |= {name: functools.partial(wide_resnet_cost, name) for name in WIDE_RESNETS}
COSTS |= {name: functools.partial(vgg_cost, name) for name in VGGS}


def multiply_adds(name):
    return models.count_multiply_adds(models.create(name, 100), variables_of(name), CIFAR)


def test_every_model_has_a_published_size():
    assert list(models.MODELS) == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    assert models.count_parameters(variables_of(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", COSTS)
def test_costs_by_hand(name):
    assert (PARAMETERS[name], multiply_adds(name)) == COSTS[name]()


def test_resnet20_costs_what_the_paper_says():
    assert multiply_adds("resnet20") / 1e6 == pytest.approx(40.8, abs=0.05)


def test_multiply_adds_of_a_convolution_in_groups():
    """Each of 12 outputs at 4x2 places sees the 3x3 neighbourhood in the 8 / 4 channels of its group."""

    class Grouped(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = layers.conv(12, 3, 2, groups=4, dtype=jnp.float32, name="conv")(x)
            return ModelOutput(x[:, 0, 0], x)

    shapes = models.variable_shapes(Grouped(), (8, 4, 8))
    assert models.count_multiply_adds(Grouped(), shapes, (8, 4, 8)) == 12 * 4 * 2 * 9 * 2


@pytest.mark.parametrize(
    ("name", "shape"), [(name, (33, 31, 3)) for name in SHOWN] + [(name, (8, 8, 1)) for name in ONE_OF_EACH]
)
def test_features_of_any_image(name, shape):
    outputs, _ = outputs_of(name, shape)
    widths, embedding, scales = SHOWN[name]
    assert outputs.logits.shape == (2, 7)
    assert outputs.embedding.shape == (2, embedding)
    rounded = math.floor if name in VGGS else math.ceil  # Pooling leaves a last odd pixel out, convolution does not.
    sides = [tuple(rounded(side / scale) for side in shape[:2]) for scale in scales]
    assert [x.shape for x in outputs.feature_maps] == [
        (2, *side, width) for side, width in zip(sides, widths, strict=True)
    ]


@pytest.mark.parametrize(("side", "last"), [(63, 7), (64, 4), (72, 4)])
def test_vgg_halves_large_images_once_more(side, last):
    outputs, _ = outputs_of("vgg8", (side, 96, 3))
    assert outputs.feature_maps[3].shape == (2, side // 8, 12, 512)
    assert outputs.feature_maps[4].shape == (2, last, 12 if side < 64 else 6, 512)


@pytest.mark.parametrize("shape", [(7, 8, 1), (32, 4, 3)])
def test_vgg_refuses_images_that_are_too_small(shape):
    with pytest.raises(ValueError, match=rf"8x8 pixels and more, not \(2, {shape[0]}, {shape[1]}, {shape[2]}\)"):
        outputs_of("vgg13", shape)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_only_feature_maps_have_the_dtype_of_computation(name):
    outputs, variables = outputs_of(name, (8, 8, 1), dtype=jnp.bfloat16)
    assert {x.dtype.name for x in outputs.feature_maps} == {"bfloat16"}
    assert {x.dtype.name for x in jax.tree.leaves((outputs.logits, outputs.embedding, variables))} == {"float32"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet9", 'unknown model "resnet9"; did you mean "resnet'),
        ("inception", r'unknown model "inception" \(known: resnet8,'),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet8", "depths", 'model resnet8 has no argument "depths"; it has widths$'),
        ("resnet8", "depth", 'model resnet8 has no argument "depth"; it has widths$'),  # Fixed by the name.
        ("mobilenetv2", "widths", 'model mobilenetv2 has no argument "widths"; it has none$'),
    ],
)
def test_unknown_sizes_are_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10, **{size: 3})


def test_sizes_are_passed_to_the_network(monkeypatch):
    widths = (4, 4, 8, 8)
    assert models.create("resnet8", 10, widths=widths) == ResNet(num_classes=10, depth=8, widths=widths)
    monkeypatch.setitem(models.MODELS, "mine", lambda **kwargs: kwargs)
    assert models.create("mine", 10, anything=3)["anything"] == 3


def test_multiply_adds_in_loops():
    def network(loop):
        def apply(variables, images, *, train, rngs=None):
            rows = images.reshape(1, -1)
            return ModelOutput(loop(rows, variables["params"]), rows), {}

        return models.Network(lambda rng, example: {"params": jnp.zeros((4, 4))}, apply)

    def count(loop):
        return models.count_multiply_adds(network(loop), {"params": jnp.zeros((4, 4))}, (2, 2, 1))

    assert count(lambda rows, kernel: jax.lax.scan(lambda x, _: (x @ kernel, None), rows, length=3)[0]) == 3 * 16
    assert count(lambda rows, kernel: jax.lax.cond(rows[0, 0] > 0, lambda: rows @ kernel, lambda: rows)) == 16
    assert count(lambda rows, kernel: jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ kernel, rows)) is None
