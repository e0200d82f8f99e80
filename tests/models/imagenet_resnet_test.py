"""resnet18, resnet34 and resnet50: torchvision's from 64 pixels on, with its numbers, and with a 3x3 stem below."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torchvision_golden

from rdd_jax import models
from rdd_jax.models.torch_state_dict import Mismatch, from_state_dict, to_state_dict

IMAGENET = (224, 224, 3)
# What torchvision says of its weights: parameters, and multiply-adds in units of 10^9.
PUBLISHED = {"resnet18": (11_689_512, 1.814), "resnet34": (21_797_672, 3.664), "resnet50": (25_557_032, 4.089)}


@functools.cache
def golden():
    return dict(np.load(torchvision_golden.GOLDEN))


def torchvisions_shapes(name):
    return {key: tuple(shape) for key, shape in json.loads(str(golden()[f"{name}_shapes"])).items()}


def our_shapes(name, image_shape, num_classes=1000):
    """By torch's names, of zeros that are never computed with."""
    shapes = models.variable_shapes(models.create(name, num_classes), image_shape)
    arrays = to_state_dict(jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes))
    return {key: array.shape for key, array in arrays.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_what_torchvision_says(name):
    network = models.create(name, 1000)
    shapes = models.variable_shapes(network, IMAGENET)
    parameters, multiply_adds = PUBLISHED[name]
    assert models.count_parameters(shapes) == parameters
    assert round(models.count_multiply_adds(network, shapes, IMAGENET) / 1e9, 3) == multiply_adds


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_torchvisions(name):
    assert our_shapes(name, IMAGENET) == torchvisions_shapes(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvisions_weights_give_torchvisions_outputs(name):
    """At odd sides and even ones: at these a convolution or a pooling of stride 2 shows how it is padded."""
    images = torchvision_golden.images()
    variables = from_state_dict(torchvision_golden.weights(torchvisions_shapes(name)), name, 1000, images.shape[1:])
    network = models.create(name, 1000)
    outputs = jax.jit(functools.partial(network.apply, train=False))(variables, images)
    assert [x.shape[1:3] for x in outputs.feature_maps] == [(18, 18), (18, 18), (9, 9), (5, 5), (3, 3)]
    shown = {f"map{i}": x.mean((1, 2)) for i, x in enumerate(outputs.feature_maps)}
    for key, value in (shown | {"embedding": outputs.embedding, "logits": outputs.logits}).items():
        expected = golden()[f"{name}_{key}"]
        # Rounding alone: 9.6e-7 of the largest was the most that was seen, and other processors sum in another order.
        np.testing.assert_allclose(value, expected, rtol=0, atol=5e-6 * np.abs(expected).max(), err_msg=key)


@pytest.mark.parametrize("name", PUBLISHED)
def test_maps_at_imagenets_size(name):
    network = models.create(name, 1000)
    outputs, _ = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), jnp.zeros((2, *IMAGENET)), train=False)
    )
    wider = 4 if name == "resnet50" else 1
    widths = [64, 64 * wider, 128 * wider, 256 * wider, 512 * wider]
    assert [x.shape for x in outputs.feature_maps] == [
        (2, side, side, width) for side, width in zip((56, 56, 28, 14, 7), widths, strict=True)
    ]
    assert outputs.embedding.shape == (2, 512 * wider)
    assert outputs.logits.shape == (2, 1000)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_only_the_height_selects_the_stem(name):
    """63 pixels are few, 64 are many; the width and, with basic blocks, the other parameters play no part in it."""
    small, large = our_shapes(name, (63, 224, 3)), our_shapes(name, (64, 32, 3))
    assert large == torchvisions_shapes(name)
    assert small == large | {"conv1.weight": (64, 3, 3, 3)}


def test_a_small_resnet50_has_repdistillers_names():
    small, large = our_shapes("resnet50", (63, 63, 3)), our_shapes("resnet50", (64, 64, 3))
    renamed = {key.replace("downsample", "shortcut").replace("fc", "linear"): shape for key, shape in large.items()}
    assert small == renamed | {"conv1.weight": (64, 3, 3, 3)}


def test_weights_for_large_images_are_refused_for_small_ones():
    arrays = {key: np.zeros(shape) for key, shape in our_shapes("resnet18", (64, 64, 3), 5).items()}
    from_state_dict(arrays, "resnet18", 5, (64, 64, 3))
    with pytest.raises(Mismatch, match=r"conv1.weight is \(64, 3, 7, 7\) there and \(64, 3, 3, 3\) in resnet18"):
        from_state_dict(arrays, "resnet18", 5, (32, 32, 3))
