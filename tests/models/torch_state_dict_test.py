"""Names and layout of PyTorch's weights: there and back for every network, and what is said of another's."""

import functools

import jax
import numpy as np
import pytest
from networks import random_variables

from rdd_jax import models
from rdd_jax.core.errors import UserError
from rdd_jax.models.torch_state_dict import Mismatch, from_state_dict, to_state_dict


@functools.cache
def resnet8():
    return to_state_dict(random_variables("resnet8"))


@pytest.mark.parametrize("name", models.MODELS)
def test_converting_to_pytorch_and_back_is_the_identity(name):
    variables = random_variables(name, num_classes=7, channels=1)
    arrays = to_state_dict(variables)
    assert len(arrays) == len(jax.tree.leaves(variables))
    back = from_state_dict(arrays, name, num_classes=7, image_shape=(28, 30, 1))
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_names_and_layout_are_torchs():
    variables, arrays = random_variables("resnet8"), resnet8()
    params, stats = variables["params"], variables["batch_stats"]
    kernel = params["layer2_0"]["downsample_0"]["kernel"]
    np.testing.assert_array_equal(arrays["layer2.0.downsample.0.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(arrays["fc.weight"], params["fc"]["kernel"].T)
    np.testing.assert_array_equal(arrays["bn1.weight"], params["bn1"]["scale"])
    np.testing.assert_array_equal(arrays["bn1.running_var"], stats["bn1"]["var"])
    assert all(array.flags.c_contiguous for array in arrays.values())


def test_update_counts_and_float64_are_accepted():
    expected = random_variables("resnet8")
    arrays = {key: array.astype(np.float64) for key, array in resnet8().items()}
    variables = from_state_dict(arrays | {"bn1.num_batches_tracked": np.int64(3)}, "resnet8", 5)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("name", "num_classes", "channels", "words"),
    [
        ("resnet20", 5, 3, "x.pth is not a resnet20 for 5 classes: it lacks layer1.1.conv1.weight"),
        ("resnet8x4", 5, 3, "it lacks layer1.0.downsample.0.weight"),
        ("resnet8", 100, 3, r"fc.weight is \(5, 64\) there and \(100, 64\) in resnet8"),
        ("resnet8", 5, 1, r"conv1.weight is \(16, 3, 3, 3\) there and \(16, 1, 3, 3\) in resnet8"),
        ("wrn_16_1", 5, 3, "it lacks block1.layer.0.conv1.weight"),
    ],
)
def test_another_network_is_named_by_the_first_difference(name, num_classes, channels, words):
    with pytest.raises(Mismatch, match=words):
        from_state_dict(resnet8(), name, num_classes, (32, 32, channels), source="x.pth")


def test_a_parameter_too_many_is_named():
    with pytest.raises(Mismatch, match=r"it has layer1.1.conv1.weight, which resnet8 has not"):
        from_state_dict(to_state_dict(random_variables("resnet14")), "resnet8", 5)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not finite"), (np.inf, "not finite"), (-1, "negative")])
def test_impossible_statistics_are_refused(value, words):
    running = resnet8()["bn1.running_var"].copy()
    running[3] = value
    with pytest.raises(UserError, match=rf"bn1.running_var .*{words}"):
        from_state_dict(resnet8() | {"bn1.running_var": running}, "resnet8", 5)


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match='"resnet9"; did you mean'):
        from_state_dict(resnet8(), "resnet9", 5)
