"""Distillation as one call: the program's own run, from names, files, factories and arrays in memory."""

import json

import numpy as np
import pytest
from program import ROOT

import rdd_jax
from rdd_jax.cli import command_line
from rdd_jax.core.errors import UserError
from rdd_jax.data import origins
from rdd_jax.training import distill as call

SMALL = {"batch_size": 4, "epochs": 1, "augment": {"pad": 0, "flip": False}}


@pytest.fixture
def captured(monkeypatch):
    """The configuration and the workdir of the run that would be trained."""
    runs = []

    class Stop(Exception):
        pass

    def train(config, workdir):
        runs.append((config, workdir))
        raise Stop

    monkeypatch.setattr(call, "train", train)

    def of(**arguments):
        with pytest.raises(Stop):
            rdd_jax.distill(**arguments)
        return runs[-1]

    return of


def arrays():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 6, 6, 1), np.uint8)
    labels = np.arange(12) % 2
    return {
        "train_images": images[:8],
        "train_labels": labels[:8],
        "test_images": images[8:],
        "test_labels": labels[8:],
    }


def test_the_run_is_the_programs(captured, tmp_path):
    config, workdir = captured(
        student="resnet8",
        teacher={"name": "resnet8", "epochs": 3},
        data="digits",
        methods={"ce": 1.0, "kd": 0.9, "rdd": {"weight": 0.8, "momentum": 0.7}},
        workdir=tmp_path / "run",
        epochs=7,
        mining={"epochs": 2},
    )
    keys = ["teacher.name=resnet8", "teacher.epochs=3", "distill.rdd.momentum=0.7", "epochs=7", "mining.epochs=2"]
    flags = [f"--config={ROOT / 'configs/rdd.py'}", *(f"--config.{key}" for key in keys)]
    assert config == command_line.configuration(flags)
    assert workdir == tmp_path / "run"


def test_the_default_is_the_papers_objective(captured, tmp_path):
    config, _ = captured(student="resnet8", teacher="resnet20", data="digits", workdir=tmp_path)
    assert config == command_line.configuration([f"--config={ROOT / 'configs/rdd.py'}"])


def test_data_are_a_folder_a_file_or_arrays(captured, tmp_path):
    common = {"student": "resnet8", "teacher": "resnet8", "workdir": tmp_path / "run"}
    (tmp_path / "pictures").mkdir()
    folder, _ = captured(data=tmp_path / "pictures", **common)
    assert (folder.dataset, folder.data.folder, folder.data.image_size) == ("", str(tmp_path / "pictures"), 32)
    file, _ = captured(data="some/data.npz", **common)
    assert file.dataset.endswith("/some/data.npz")
    assert file.data.image_size == 0
    given, _ = captured(data=arrays(), **common)
    assert given.dataset == str(tmp_path / "run" / "run.npz")
    written = (tmp_path / "run" / "run.npz").stat().st_mtime_ns
    captured(data=arrays(), **common)
    assert (tmp_path / "run" / "run.npz").stat().st_mtime_ns == written
    np.testing.assert_array_equal(np.load(tmp_path / "run" / "run.npz")["test_labels"], arrays()["test_labels"])


def test_data_are_objects_with_items_or_the_keys_of_a_section(captured, tmp_path):
    common = {"student": "resnet8", "teacher": "resnet8", "workdir": tmp_path / "run"}
    made = arrays()
    train, test = (
        list(zip(made[f"{split}_images"], made[f"{split}_labels"], strict=True)) for split in ("train", "test")
    )
    captured(data={"train": train, "test": test}, **common)
    with np.load(tmp_path / "run" / "run.npz") as written:
        for name, array in made.items():
            np.testing.assert_array_equal(written[name], array)
    folder, _ = captured(data={"folder": tmp_path / "pictures", "image_size": 48}, **common)
    assert (folder.dataset, folder.data.folder, folder.data.image_size) == ("", str(tmp_path / "pictures"), 48)


def test_a_factory_is_remembered_by_its_file(captured, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def network(num_classes): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    import mine

    config, _ = captured(student=mine.network, teacher={"name": mine.network}, data="digits", workdir=tmp_path / "run")
    assert config.student.name == config.teacher.name == f"{tmp_path / 'mine.py'}:network"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"student": lambda num_classes: None}, "must be a function or class at the top of a file"),
        ({"epoch": 3}, 'no key "epoch"; it has .*epochs'),
        ({"mining": {"epoch": 3}}, 'no key "mining.epoch"; it has epochs'),
        ({"methods": {"kdd": 1.0}}, 'no key "distill.kdd"; it has at, cc'),
        ({"epochs": 0}, "epochs must be above 0; got 0"),
        ({"preset": "cifar"}, 'unknown preset "cifar"'),
        ({"data": {"train_images": np.zeros((2, 6, 6, 1), np.uint8)}}, "data has no array train_labels"),
        ({"data": {"train_images": [np.zeros(2), np.zeros(3)]}}, "data: train_images is no array .*one shape"),
        ({"data": {"train": [(np.zeros((6, 6), np.uint8), 0)]}}, "data has no data set test"),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    given = {"student": "resnet8", "teacher": "resnet8", "data": "digits", "workdir": tmp_path / "run"} | arguments
    with pytest.raises(UserError, match=message):
        rdd_jax.distill(**given)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_from_arrays_is_trained_loaded_and_evaluated(tmp_path):
    """The student of a tiny run without a teacher; a second call loads it."""
    given = {"student": "resnet8", "teacher": {"name": ""}, "data": arrays(), "methods": {"ce": 1.0}, **SMALL}
    result = rdd_jax.distill(workdir=tmp_path / "run", **given)
    assert result.summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    origins.find.cache_clear()
    again = rdd_jax.distill(workdir=tmp_path / "run", **given)
    loaded = rdd_jax.load(tmp_path / "run")
    images = np.zeros((2, 6, 6, 1), np.float32)
    logits = [one.student.apply(one.variables, images, train=False)[0].logits for one in (result, again)]
    logits.append(loaded.network.apply(loaded.variables, images, train=False)[0].logits)
    for other in logits[1:]:
        np.testing.assert_array_equal(other, logits[0])
    assert rdd_jax.evaluate(tmp_path / "run")["accuracy"] == pytest.approx(result.summary["student"]["accuracy"])
