"""Runs the programs of examples/, with few images and epochs."""

import jax
import pytest
import safetensors.numpy

from examples import custom_loop, own_data
from rdd_jax import models
from rdd_jax.models import torch_state_dict


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
