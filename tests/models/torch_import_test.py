"""Checkpoints of PyTorch's: RepDistiller's numbers from its weights, every form of file, and files that are none.

Where PyTorch is not installed, what needs it is skipped; the weights of the goldens are there without it, too.
"""

import argparse
import os
import pickle
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from golden import GOLDENS
from networks import random_variables

from rdd_jax import models
from rdd_jax.core.errors import UserError
from rdd_jax.models import torch_import
from rdd_jax.models.torch_state_dict import Mismatch, to_state_dict


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def digits(torch):
    """(variables, state dict of tensors) of a resnet8 for the digits."""
    variables = digits_variables()
    return variables, tensors(torch, variables)


def digits_variables():
    return random_variables("resnet8", num_classes=10, channels=1)


def tensors(torch, variables):
    return {key: torch.from_numpy(array) for key, array in to_state_dict(variables).items()}


def load_digits(path, name="resnet8"):
    return torch_import.load(path, name, num_classes=10, image_shape=(8, 8, 1))


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1"])
def test_repdistillers_weights_give_repdistillers_outputs(name):
    expected = np.load(GOLDENS / f"{name}.npz")
    variables = torch_import.load(GOLDENS / f"{name}.safetensors", name, num_classes=100)
    network = models.create(name, num_classes=100)
    outputs = jax.jit(lambda variables, images: network.apply(variables, images, train=False))(
        variables, expected["images"]
    )
    found = {f"feat{i}": value for i, value in enumerate([*outputs.feature_maps, outputs.embedding])}
    found["logits"] = outputs.logits
    assert found.keys() | {"images"} == set(expected.files)
    for key, value in found.items():
        # Rounding alone: 6.2e-7 of the largest was the most that was seen, and other processors sum in another order.
        tolerance = 3e-6 * np.abs(expected[key]).max()
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=tolerance, err_msg=key)


def test_sizes_of_the_network_are_arguments(tmp_path):
    widths = (4, 4, 8, 8)
    shapes = models.variable_shapes(models.create("resnet8", 10, widths=widths), (8, 8, 1))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    safetensors.numpy.save_file(to_state_dict(variables), tmp_path / "narrow.safetensors")
    loaded = torch_import.load(tmp_path / "narrow.safetensors", "resnet8", 10, (8, 8, 1), widths=widths)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    with pytest.raises(Mismatch, match=r"conv1\.weight"):
        load_digits(tmp_path / "narrow.safetensors")


def test_repdistillers_own_file_holds_the_same_weights(torch):
    from_pth = torch_import.load(GOLDENS / "resnet8.pth", "resnet8", num_classes=100)
    from_safetensors = torch_import.load(GOLDENS / "resnet8.safetensors", "resnet8", num_classes=100)
    jax.tree.map(np.testing.assert_array_equal, from_pth, from_safetensors)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 240, "model": weights, "best_acc": 72.5},
        lambda weights: {"state_dict": weights},
        lambda weights: {"model": {f"module.{key}": tensor for key, tensor in weights.items()}},
        lambda weights: {f"module.module.{key}": tensor for key, tensor in weights.items()},
        lambda weights: {"opt": argparse.Namespace(model="resnet8", milestones=[150]), "model": weights},
        lambda weights: {key: tensor.clone().requires_grad_() for key, tensor in weights.items()},
        lambda weights: {key: tensor.double() for key, tensor in weights.items()},
    ],
    ids=["bare", "model", "state_dict", "module", "modules", "namespace", "parameters", "double"],
)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_every_form_of_a_checkpoint_is_read(torch, digits, tmp_path, wrap, is_zip):
    variables, weights = digits
    torch.save(wrap(weights), tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
    jax.tree.map(np.testing.assert_array_equal, load_digits(tmp_path / "x.pth"), variables)


def test_exported_weights_are_read_by_pytorch(torch, digits):
    """A strict load_state_dict does without num_batches_tracked."""
    _, weights = digits
    norm = torch.nn.BatchNorm2d(16)
    norm.load_state_dict({key.removeprefix("bn1."): weights[key] for key in weights if key.startswith("bn1.")})
    assert norm.running_var.equal(weights["bn1.running_var"])


class Malicious:
    """What, unpickled without care, leaves a file behind."""

    def __init__(self, trace):
        self._trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("protocol", [None, 2, 5], ids=["zip", "pickle2", "pickle5"])
def test_a_files_code_is_not_run(torch, tmp_path, protocol):
    path, content = tmp_path / "x.pth", {"model": Malicious(tmp_path / "trace")}
    if protocol is None:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(UserError, match=r"x.pth cannot be read"):
        load_digits(path)
    assert not (tmp_path / "trace").exists()


def test_contents_besides_weights_are_named(torch, digits, tmp_path):
    torch.save({"model": digits[1], "best_acc": np.float64(72.5)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x.pth cannot be read \(it holds numpy\S* besides weights\).*state_dict"):
        load_digits(tmp_path / "x.pth")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_truncated_checkpoint_is_named(torch, digits, tmp_path, is_zip):
    path = tmp_path / "x.pth"
    torch.save(digits[1], path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"x.pth cannot be read \(damaged"):
        load_digits(path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint\n", pickle.dumps([1, 2])])
def test_files_that_are_no_checkpoints_are_named(torch, tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"x.pth"):
        load_digits(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [3, [1], {"epoch": 3}, {"model": [1], "epoch": 3}])
def test_a_checkpoint_without_weights_is_named(torch, tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x.pth holds no state dict"):
        load_digits(tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex"])
def test_tensors_that_are_no_plain_arrays_are_named(torch, digits, tmp_path, kind):
    bias = digits[1]["fc.bias"]
    strange = {"sparse": bias.to_sparse(), "meta": bias.to("meta"), "complex": bias.to(torch.complex64)}[kind]
    torch.save(digits[1] | {"fc.bias": strange}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x.pth cannot be used: fc.bias is no plain array of numbers"):
        load_digits(tmp_path / "x.pth")


def test_a_prefix_of_only_some_names_is_kept(torch, digits, tmp_path):
    torch.save(digits[1] | {"module.conv1.weight": digits[1]["conv1.weight"]}, tmp_path / "x.pth")
    with pytest.raises(Mismatch, match=r"it has module.conv1.weight, which resnet8 has not"):
        load_digits(tmp_path / "x.pth")


def test_a_version_of_pytorch_that_is_too_old_is_named(torch, monkeypatch):
    monkeypatch.delattr(torch.serialization, "safe_globals")
    with pytest.raises(UserError, match=r"read by PyTorch 2.5 or later, and 2\S* is installed: update it"):
        torch_import.load(GOLDENS / "resnet8.pth", "resnet8", num_classes=100)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("resnet20", {}, "x.pth is not a resnet20 for 10 classes: it lacks layer1.1.conv1.weight"),
        ("resnet8", {"layer4.conv.weight": (1,)}, "it has layer4.conv.weight, which resnet8 has not"),
        ("resnet8", {"fc.weight": (3, 64)}, r"fc.weight is \(3, 64\) there and \(10, 64\) in resnet8"),
    ],
)
def test_another_network_is_named(torch, digits, tmp_path, name, changes, words):
    zeros = {key: torch.zeros(shape) for key, shape in changes.items()}
    torch.save({"model": digits[1] | zeros}, tmp_path / "x.pth")
    with pytest.raises(Mismatch, match=words):
        load_digits(tmp_path / "x.pth", name)


# ---- Without PyTorch


def test_without_torch_its_files_are_refused_and_safetensors_are_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"resnet8.pth is read by PyTorch, which is not installed: pip install torch"):
        torch_import.load(GOLDENS / "resnet8.pth", "resnet8", num_classes=100)
    assert torch_import.load(GOLDENS / "resnet8.safetensors", "resnet8", num_classes=100)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(UserError, match=rf"there is no file .*x.{suffix}"):
        load_digits(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 5), slice(0, -5), slice(3, None)])
def test_damaged_safetensors_are_named(tmp_path, cut):
    content = safetensors.numpy.save(to_state_dict(random_variables("resnet8", 10, 1)))
    (tmp_path / "x.safetensors").write_bytes(content[cut])
    with pytest.raises(UserError, match=r"x.safetensors is damaged"):
        load_digits(tmp_path / "x.safetensors")
