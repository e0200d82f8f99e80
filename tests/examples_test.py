"""Runs the programs of examples/, with few images and epochs."""

import importlib

import jax
import pytest
import safetensors.numpy
from left import leave_run
from settings import run_config

from configs import kd
from examples import custom_loop, own_data
from rdd_jax import models
from rdd_jax.cli import command_line
from rdd_jax.models import torch_state_dict


def test_custom_loop(capsys):
    accuracies = custom_loop.main(epochs=2, teacher_name="resnet8", limit=192)  # Mines before the second epoch.
    assert all(0 <= accuracy <= 100 for accuracy in accuracies)
    assert f"student resnet8: {accuracies[1]:.2f}%" in capsys.readouterr().out


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The workdir of a finished run on the digits, of random weights."""
    config = kd.get_config("digits")
    config.update({"trains_teacher": True})
    config.student.name = "resnet8"
    return leave_run(tmp_path_factory.mktemp("runs") / "teacher", run_config(config), seed=0)


@pytest.fixture
def own_network(monkeypatch):
    """The example, whose network is registered during the test only."""
    monkeypatch.setitem(models.MODELS, "small_conv_net", None)
    module = importlib.import_module("examples.own_network")
    models.MODELS["small_conv_net"] = module.SmallConvNet  # Where it has been imported before.
    return module


def test_own_network(tmp_path, teacher, own_network):
    # KD alone: RDD's compilation takes half a minute, and is tested elsewhere.
    few = {"epochs": 1, "batch_size": 512, "distill.rdd.weight": 0.0}
    given = {"teacher.name": "resnet8", "teacher.checkpoint": str(teacher)}
    summary = own_network.main(str(tmp_path / "run"), few | given)
    assert summary["student"]["name"] == "small_conv_net"
    assert summary["student"]["parameters"] == 24_170


def test_own_network_is_a_configuration_file(own_network):
    config = command_line.configuration(["--config=examples/own_network.py:mnist", "--config.seed=2"])
    assert (config.student.name, config.dataset, config.seed) == ("small_conv_net", "mnist", 2)


def test_own_data(tmp_path, capsys):
    own_data.write_digits(tmp_path / "pictures", images_per_class=5)
    variables = models.init(models.create("resnet8", num_classes=10), jax.random.key(0), (8, 8, 3))
    teacher = tmp_path / "teacher.safetensors"
    safetensors.numpy.save_file(torch_state_dict.to_state_dict(variables), teacher)
    # Cross-entropy alone, and a teacher that is only evaluated: distillation is tested elsewhere.
    alone = {"distill.rdd.weight": 0.0, "distill.kd.weight": 0.0}
    few = {"epochs": 1, "batch_size": 16, "data.image_size": 8, "teacher.name": "resnet8"}
    pictures, workdir = str(tmp_path / "pictures"), str(tmp_path / "run")
    summary, name = own_data.main(pictures, workdir, few | alone | {"teacher.checkpoint": str(teacher)})
    assert (summary["dataset"], summary["teacher"]["name"]) == ("pictures", "resnet8")
    assert name in {str(digit) for digit in range(10)}
    assert f": {name}, " in capsys.readouterr().out
