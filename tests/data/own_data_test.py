"""Data sets of the user's own, of a file or a function: read, checked, recognised when moved, and trained on."""

import json

import numpy as np
import pytest
from program import ROOT
from settings import run_config

from configs import ce
from rdd_jax.core.errors import UserError
from rdd_jax.data import loading, origins, own_data
from rdd_jax.data.options import AugmentOptions, DataOptions
from rdd_jax.main import main
from rdd_jax.runs import naming
from rdd_jax.training import same_run


def arrays(**changes):
    """Ten training and four test images of two classes, as the arrays of a file."""
    random = np.random.default_rng(0)
    made = {
        "train_images": random.integers(0, 256, (10, 6, 5, 3), np.uint8),
        "train_labels": np.arange(10) % 2,
        "test_images": random.integers(0, 256, (4, 6, 5, 3), np.uint8),
        "test_labels": np.arange(4) % 2,
    }
    return {name: array for name, array in (made | changes).items() if array is not None}


def write(path, **changes):
    np.savez(path, **arrays(**changes))
    return DataOptions(dataset=str(path))


@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_file_is_loaded_whole_or_streamed(tmp_path, reading):
    options = write(tmp_path / "my data.npz", class_names=np.array(["cat", "dog"]))
    options = DataOptions(dataset=options.dataset, loading=reading)
    expected = arrays()
    assert loading.dataset_name(options) == "my_data"
    assert loading.describe(options) == (10, 4, (6, 5, 3), 2)
    dataset = loading.load(options)
    np.testing.assert_array_equal(dataset.train_images[:], expected["train_images"])
    np.testing.assert_array_equal(dataset.test_labels, expected["test_labels"])
    assert dataset.class_names == ("cat", "dog")
    np.testing.assert_allclose(dataset.mean, expected["train_images"].mean((0, 1, 2)) / 255)
    np.testing.assert_allclose(dataset.std, expected["train_images"].std((0, 1, 2)) / 255)


def test_classes_without_names_are_numbered_and_a_share_is_held_out(tmp_path):
    options = write(tmp_path / "data.npz")
    held_out = DataOptions(dataset=options.dataset, validation=0.2)
    loading.check(held_out, AugmentOptions())
    dataset = loading.load(held_out)
    assert dataset.class_names == ("0", "1")
    assert (len(dataset.train_images), len(dataset.validation_labels)) == (8, 2)
    assert loading.has_validation(held_out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, r"has no array test_labels \(it has train_images, train_labels, test_images\)"),
        ({"train_images": np.zeros((10, 6, 5, 3), np.float32)}, r"got float32\[10, 6, 5, 3\]: scale pixels"),
        ({"train_images": np.zeros((10, 6, 5), np.uint8)}, r"train_images must be uint8\[n,h,w,c\].*\[10, 6, 5\]"),
        (
            {"test_images": np.zeros((4, 6, 6, 3), np.uint8)},
            r"train_images are \(6, 5, 3\) and test_images \(6, 6, 3\)",
        ),
        ({"train_labels": np.arange(9) % 2}, r"train_labels must be integers \[10\].*int64\[9\]"),
        ({"train_labels": np.zeros(10)}, r"train_labels must be integers \[10\].*float64\[10\]"),
        ({"test_labels": np.array([0, 1, 2, 0])}, r"test_labels must be in \[0, 2\).*got 0 to 2"),
        ({"train_labels": 3 * (np.arange(10) % 2)}, "go up to 3, but class 1 has no image: number the classes"),
        ({"train_labels": np.arange(10) % 2 - 1}, r"train_labels must be in \[0, 1\)"),
        ({"train_labels": np.array(10 * ["cat"])}, r"train_labels must be integers \[10\].*<U3\[10\]"),
        ({"train_labels": np.zeros(10, int), "test_labels": np.zeros(4, int)}, "of a single class"),
        ({"train_labels": np.array([None] * 10)}, "cannot be read .*: write it by numpy.savez, without objects"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, message):
    write(tmp_path / "data.npz", **changes)
    with pytest.raises(UserError, match=message):
        own_data.read(str(tmp_path / "data.npz"))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*data.npz: --config.dataset takes an .npz file"):
        own_data.read(str(tmp_path / "data.npz"))
    (tmp_path / "data.npz").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=r"data.npz cannot be read"):
        own_data.read(str(tmp_path / "data.npz"))


def function(path, body="return arrays"):
    """The name of a function in a file that makes arrays and then does what `body` says."""
    path.write_text(
        "import numpy as np\n\ndef load():\n    labels = np.arange(4) % 2\n"
        "    arrays = {'train_images': np.full((4, 6, 5, 1), 51, np.uint8), 'train_labels': labels}\n"
        f"    arrays |= {{'test_images': arrays['train_images'], 'test_labels': labels}}\n    {body}\n"
    )
    return f"{path}:load"


def test_a_function_returns_the_arrays(tmp_path):
    options = DataOptions(dataset=function(tmp_path / "mine.py"))
    loading.check(options, AugmentOptions())
    dataset = loading.load(options)
    assert dataset.name == "mine_load"
    assert loading.describe(options) == (4, 4, (6, 5, 1), 2)
    assert (dataset.mean, dataset.std) == (pytest.approx((0.2,)), (1.0,))  # All pixels are alike.
    assert loading.fingerprint(options) == loading.fingerprint(DataOptions(dataset=function(tmp_path / "other.py")))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return arrays['train_images']", "mine.py:load must return a dictionary of arrays; got ndarray"),
        ("raise OSError('no disk')", "mine.py:load fails: OSError: no disk"),
        ("del arrays['test_labels']; return arrays", "has no array test_labels"),
        ("arrays['train_images'] = arrays['train_images'] / 255; return arrays", r"got float64\[4, 6, 5, 1\]"),
    ],
)
def test_mistakes_of_a_function_are_named(tmp_path, body, message):
    with pytest.raises(UserError, match=message):
        own_data.read(function(tmp_path / "mine.py", body))


def test_a_missing_function_is_named(tmp_path):
    with pytest.raises(UserError, match='unknown function "lod"; did you mean "load"'):
        own_data.read(function(tmp_path / "mine.py").replace(":load", ":lod"))


def test_a_moved_file_is_recognised_and_a_changed_one_refused(tmp_path):
    config = run_config(ce.get_config("digits"), dataset=write(tmp_path / "one.npz").dataset)
    naming.records.write_config(config, tmp_path / "run")
    (tmp_path / "one.npz").rename(tmp_path / "other.npz")
    moved = config.replaced({"dataset": str(tmp_path / "other.npz")})
    same_run.check_same_run(moved, tmp_path / "run", "hint")
    assert same_run.has_same_files(moved.replaced({"data.image_size": 16, "data.validation": 0.5}), tmp_path / "run")
    write(tmp_path / "other.npz", train_labels=np.arange(10)[::-1] % 2)
    changed = config.replaced({"dataset": str(tmp_path / "changed.npz")})
    (tmp_path / "other.npz").rename(tmp_path / "changed.npz")
    with pytest.raises(UserError, match="the data have changed since"):
        same_run.check_same_data(changed, tmp_path / "run")
    assert not same_run.has_same_files(changed, tmp_path / "run")


def test_the_program_trains_on_a_file_and_evaluates_it_where_it_was_moved(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write("data.npz")
    keys = ["--config.batch_size=4", "--config.epochs=1", "--config.augment.pad=0"]
    line = ["rdd-jax", f"--config={ROOT / 'configs/ce.py'}", "--config.dataset=data.npz", *keys]
    assert main([*line, "--workdir=run"]) == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["dataset"] == "data"
    (tmp_path / "data.npz").rename(tmp_path / "moved.npz")
    capfd.readouterr()
    origins.find.cache_clear()  # As in another process.
    assert main(["rdd-jax", "--mode=evaluate", "--workdir=run"]) == 2
    assert "there is no file" in capfd.readouterr().err
    assert main(["rdd-jax", "--mode=evaluate", "--workdir=run", "--config.dataset=moved.npz"]) == 0
    assert "accuracy" in json.loads(capfd.readouterr().out)
