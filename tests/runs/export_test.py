"""A student's way out and back: bit for bit, by PyTorch's names, with what is needed to use it, also as a teacher."""

import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from golden import GOLDENS
from networks import random_variables
from settings import run_config

from configs import ce
from rdd_jax import models
from rdd_jax.core import devices
from rdd_jax.core.errors import UserError
from rdd_jax.data import datasets
from rdd_jax.main import main
from rdd_jax.runs import export, records, trained_models
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.runs.trained_models import evaluate
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training import config_checks


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """What a run of a resnet8 leaves, and its export; no training, as any weights will do."""
    workdir = tmp_path_factory.mktemp("export") / "run"
    config = run_config(ce.get_config("digits"))
    records.write_config(config, workdir)
    state = TrainState(None, None, random_variables("resnet8", num_classes=10, channels=1), None, None, None, None)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(7, devices.replicate(state._replace(step=np.int32(7))), accuracy=None)
    with pytest.raises(UserError, match="not trained to its end: finish its run"):
        export.save(workdir)
    (workdir / "summary.json").write_text("{}")
    assert main(["main", "--mode=export", f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture
def copy(workdir, tmp_path):
    """The folder of the export, to be spoilt."""
    return Path(shutil.copytree(workdir / "export", tmp_path / "copy"))


def test_the_network_comes_back_bit_for_bit(workdir):
    exported = export.load(workdir / "export")
    kept = trained_models.load_student(workdir, "float32")
    assert jax.tree.structure(exported.variables) == jax.tree.structure(kept.variables)
    jax.tree.map(np.testing.assert_array_equal, exported.variables, kept.variables)

    digits = datasets.load("digits")
    images = exported.preprocess(digits.test_images)
    np.testing.assert_array_equal(images, trained_models.make_input_normalizer(digits)(digits.test_images))
    logits = jax.jit(lambda variables: exported.network.apply(variables, images, train=False)[0].logits)(
        exported.variables
    )
    accuracy = 100 * np.mean(np.argmax(logits, axis=1) == digits.test_labels)
    np.testing.assert_allclose(accuracy, exported.description["accuracy"])


def test_the_description_says_what_a_user_needs(workdir):
    names = sorted(path.name for path in (workdir / "export").iterdir())
    assert names == ["student.json", "student.safetensors", "student.stablehlo"]
    description = json.loads((workdir / "export" / "student.json").read_text())
    measured = evaluate(workdir)
    digits = datasets.load("digits")
    expected = {
        "version": 3,
        "network": "resnet8",
        "kwargs": {},
        "num_classes": 10,
        "class_names": [str(digit) for digit in range(10)],
        "image_shape": [8, 8, 1],
        "preprocessing": {
            "resize": {"height": 8, "width": 8, "crop_share": 1.0, "filter": "bilinear"},
            "layout": "NHWC",
            "channels": "gray",
            "scale": 1 / 255,
            "mean": list(digits.mean),
            "std": list(digits.std),
        },
        "dataset": "digits",
        "method": "ce",
        "seed": 0,
        "step": 7,
        "config_sha256": hashlib.sha256((workdir / "config.json").read_bytes()).hexdigest(),
        **{name: measured[name] for name in ("accuracy", "top5_accuracy", "nll", "ece", "aurc")},
        "parameters": models.count_parameters(export.load(workdir / "export").variables),
    }
    assert description == expected | {"sha256": description["sha256"]}


def test_the_weights_bear_repdistillers_names(workdir):
    ours = safetensors.numpy.load_file(workdir / "export" / "student.safetensors")
    theirs = safetensors.numpy.load_file(GOLDENS / "resnet8.safetensors")
    of_other_data = ("conv1.weight", "fc.weight", "fc.bias")  # Whose shapes are those of channels and classes.
    expected = {key: array.shape for key, array in theirs.items() if not key.endswith("num_batches_tracked")}
    assert ours.keys() == expected.keys()
    for key in expected.keys() - set(of_other_data):
        assert ours[key].shape == expected[key]
        assert ours[key].dtype == np.float32


def test_an_export_teaches(workdir):
    config = ce.get_config("digits")
    weights = workdir / "export" / "student.safetensors"
    config.teacher.update({"name": "resnet8", "checkpoint": str(weights)})
    config = run_config(config)
    config_checks.check(config, workdir.parent / "another")
    teacher, student = (
        trained_models.load_teacher(config, workdir.parent / "another"),
        trained_models.load_student(workdir, "float32"),
    )
    jax.tree.map(np.testing.assert_array_equal, teacher.variables, student.variables)


@pytest.mark.parametrize("name", ["student.json", "student.safetensors"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=rf"there is no export in .*{name}.*--mode=export"):
        export.load(copy)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"!"])
def test_damaged_weights_are_named(copy, damage):
    weights = copy / "student.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(UserError, match=r"student.safetensors is damaged, or not what student.json"):
        export.load(copy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 1}, "of version 1, and this program reads 3: export it again"),
        ({"network": "resnet20"}, "is not a resnet20 for 10 classes: it lacks layer1.1.conv1.weight"),
        ({"network": "resnet9"}, 'student.json: unknown model "resnet9".*named as FILE.py:FACTORY'),
        ({"network": ["resnet8"]}, "student.json is damaged"),
        ({"num_classes": 7, "class_names": list("abcdefg")}, r"fc.weight is \(10, 64\) there and \(7, 64\)"),
        ({"num_classes": "ten"}, "student.json is damaged"),
        ({"num_classes": 0}, "student.json is damaged"),
        ({"image_shape": [8, 8, 3]}, "student.json is damaged"),
        ({"class_names": ["0", "1"]}, "student.json is damaged .2 class_names for 10 classes"),
        ({"image_shape": []}, "student.json is damaged"),
        ({"image_shape": [9, 8, 1]}, "student.json is damaged"),
        ({"preprocessing": {"mean": [0.5], "std": [0.2]}}, "student.json is damaged .it lacks 'resize'"),
        ({"preprocessing": None}, "student.json is damaged"),
    ],
    ids=str,
)
def test_a_description_of_something_else_is_named(copy, changes, words):
    path = copy / "student.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=words):
        export.load(copy)


@pytest.mark.parametrize("std", [[0.0], [-1.0], [float("inf")], ["x"], [], [0.2, 0.2]], ids=str)
def test_an_impossible_deviation_is_named(copy, std):
    path = copy / "student.json"
    description = json.loads(path.read_text())
    description["preprocessing"]["std"] = std
    path.write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"student.json is damaged"):
        export.load(copy)


@pytest.mark.parametrize(
    "resize",
    [{"height": 0}, {"width": 7}, {"crop_share": 0.0}, {"crop_share": "all"}, {"filter": "sharp"}, {"angle": 3}],
    ids=str,
)
def test_an_impossible_resize_rule_is_named(copy, resize):
    path = copy / "student.json"
    description = json.loads(path.read_text())
    description["preprocessing"]["resize"] |= resize
    path.write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"student.json is damaged"):
        export.load(copy)


def test_an_export_is_written_again_where_it_holds_another_student(workdir, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(export, "save", lambda workdir, config: written.append(workdir))
    assert export.save_if_needed(workdir) == workdir / "export"
    assert not written
    (tmp_path / "config.json").write_text((workdir / "config.json").read_text() + " ")
    for name in ("summary.json", "export", "checkpoints"):
        (tmp_path / name).symlink_to(workdir / name)
    export.save_if_needed(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to(workdir / "config.json")
    assert export.save_if_needed(tmp_path) == tmp_path / "export"
    (tmp_path / "export").unlink()
    export.save_if_needed(tmp_path)
    assert written == [tmp_path, tmp_path]


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", '{"version": 3}', "[" * 100_000])
def test_a_damaged_description_is_named(copy, content):
    (copy / "student.json").write_text(content)
    with pytest.raises(UserError, match=r"student.json is damaged"):
        export.load(copy)
