"""Runs the programs and the notebook of examples/, with few images and epochs."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from left import leave_run
from program import ROOT

from examples import custom_loop, own_data
from rdd_jax import models
from rdd_jax.models import torch_state_dict
from rdd_jax.training import distill


@pytest.mark.slow
def test_custom_loop(capsys):
    accuracies = custom_loop.main(epochs=2, teacher_name="resnet8", limit=192)  # Mines before the second epoch.
    assert all(0 <= accuracy <= 100 for accuracy in accuracies)
    assert f"student resnet8: {accuracies[1]:.2f}%" in capsys.readouterr().out


@pytest.mark.slow
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


def run_notebook(**parameters):
    """Runs the cells of the notebook with other parameters; returns all names."""
    names = {}
    for cell in json.loads((ROOT / "examples" / "distill.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= parameters
    names["plt"].close("all")
    return names


def check_notebook(names):
    """Its predictions have the accuracy that the run's evaluation has measured, and its picture is of mistakes."""
    right = names["predictions"] == names["test_labels"]
    assert names["metrics"]["accuracy"] == pytest.approx(100 * np.mean(right))
    assert len(names["axes"]) == 8
    assert not right[names["hardest"][0]]


def test_the_notebook_around_the_training(tmp_path, monkeypatch, capsys):
    network = {"name": "resnet8", "accuracy": 12.5, "parameters": 77754}

    def train(config, workdir):
        assert (config.epochs, config.teacher.epochs, config.augment.flip) == (2, 1, False)
        leave_run(workdir, config, seed=0)
        return {"teacher": network, "student": network}

    monkeypatch.setattr(distill, "train", train)
    check_notebook(run_notebook(workdir=str(tmp_path / "run"), epochs=2, teacher_epochs=1))
    assert "student resnet8: 12.5% with 77,754 parameters" in capsys.readouterr().out


@pytest.mark.stress
def test_the_whole_notebook(tmp_path):
    names = run_notebook(workdir=str(tmp_path / "run"), epochs=1, teacher_epochs=1)
    check_notebook(names)
    assert names["result"].summary["student"]["accuracy"] == pytest.approx(names["metrics"]["accuracy"])
