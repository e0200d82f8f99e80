"""What a configuration chooses to stream: folders and prepared data sets, and what does not go together."""

import pickle
import re
import shutil

import numpy as np
import prepared_imagenet
import pytest
from PIL import Image
from settings import run_config

from rdd_jax.core.errors import UserError
from rdd_jax.data import cifar100_subset, loading, origins, tfds
from rdd_jax.data.resize import ResizeRule
from rdd_jax.data.sources import ArraySource, Subset
from rdd_jax.runs import naming, presets, records
from rdd_jax.training import config_checks


def config(preset="digits", **keys):
    chosen = presets.get_config(preset)
    return run_config(chosen, **{"data.loading": "stream"} | keys)


def test_a_folder_is_read_by_class_and_path(folder):
    chosen = config(**{"data.folder": str(folder), "data.image_size": 32})
    assert loading.dataset_name(chosen.data) == "pictures"
    assert loading.describe(chosen.data) == (10, 10, (32, 32, 3), 2)
    loaded = loading.load(chosen.data)
    assert loaded.class_names == ("a", "b")
    assert loaded.train_labels.tolist() == [0] * 5 + [1] * 5
    rule = ResizeRule(32, 32)
    expected = np.stack([rule.apply(Image.fromarray(prepared_imagenet.picture(number))) for number in range(5)])
    np.testing.assert_array_equal(loaded.train_images[:5], expected)
    np.testing.assert_array_equal(loaded.test_images[5:], expected)


def test_imagenet_is_found_described_and_read(imagenet):
    chosen = config("imagenet2012")
    assert loading.describe(chosen.data) == (24, 10, (224, 224, 3), 1000)
    loaded = loading.load(chosen.data)
    assert loaded.train_labels.tolist() == [37 * number % 1000 for number in range(24)]
    expected = ResizeRule(224, 224, 0.875).apply(Image.fromarray(prepared_imagenet.picture(3))).astype(float)
    assert np.abs(loaded.test_images[3:4] - expected).mean() < 1.5  # JPEG's loss.
    assert loaded.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("left", [100, 0])
def test_labels_are_read_once_and_a_damaged_cache_is_replaced(imagenet, tmp_path, monkeypatch, caplog, left):
    labels = tfds.read_labels(imagenet, "train", 24, tmp_path / "labels")
    (cache,) = (tmp_path / "labels").iterdir()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(tfds, "_chunks", lambda *_: pytest.fail("read again"))
        np.testing.assert_array_equal(tfds.read_labels(imagenet, "train", 24, tmp_path / "labels"), labels)
    cache.write_bytes(cache.read_bytes()[:left])
    np.testing.assert_array_equal(tfds.read_labels(imagenet, "train", 24, tmp_path / "labels"), labels)
    assert str(cache) in caplog.text


def test_another_preparation_of_the_same_version_has_labels_of_its_own(tmp_path):
    sizes = ({"train": 24, "validation": 3}, {"train": 9, "validation": 3})
    for number, size in enumerate(sizes):
        folder = prepared_imagenet.prepare(tmp_path / str(number), size)
        assert len(tfds.read_labels(folder, "train", size["train"], tmp_path / "labels")) == size["train"]


def cut_records(folder):
    path = folder / "imagenet2012-train.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:200])


def cut_description(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text()[:300])


def lose_records(folder):
    (folder / "imagenet2012-train.array_record-00000-of-00001").unlink()


@pytest.mark.parametrize("damage", [cut_records, cut_description, lose_records])
def test_a_damaged_data_set_is_named(imagenet, damage):
    damage(imagenet)
    origins.find.cache_clear()
    with pytest.raises(
        UserError, match=f"the data set in {re.escape(str(imagenet))} cannot be read .*prepare it again"
    ):
        loading.load(config("imagenet2012").data)


def test_an_error_of_another_kind_is_not_taken_for_damage(imagenet, monkeypatch):
    monkeypatch.setattr(tfds, "_builder", lambda folder: folder.info)
    origins.find.cache_clear()
    with pytest.raises(AttributeError, match="info"):
        loading.load(config("imagenet2012").data)


def test_a_split_without_labels_is_refused(monkeypatch):
    origin = origins.find("digits", "", "", 0.0, None, None)
    without = ArraySource("digits test", np.zeros((360, 8, 8, 1), np.uint8), np.full(360, -1, np.int32))
    monkeypatch.setattr(origins, "find", lambda *_: origin._replace(test=without))
    with pytest.raises(UserError, match=r"image 0 of digits test and 359 more have no label.*data.test_split"):
        loading.load(config().data)


def test_records_go_to_other_processes_closed(imagenet):
    source = origins.find_records(imagenet, "", imagenet).train
    image = source[2]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[2], image)


def test_the_newest_version_is_taken(tmp_path):
    for version in ("2.0.0", "10.0.0", "11.0.0", "other"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dataset_info.json").touch()
        if version != "11.0.0":  # Of another format.
            (tmp_path / version / "x-train.array_record-0-of-1").touch()
    assert tfds.latest_version(tmp_path).name == "10.0.0"
    assert tfds.latest_version(tmp_path / "nothing") is None


def test_small_is_the_same_part_of_a_streamed_set():
    names = tuple(f"filler{number}" for number in range(40)) + cifar100_subset.CLASSES + ("filler",) * 40
    labels = np.random.default_rng(0).integers(0, 100, 300).astype(np.int32)
    images = np.arange(300, dtype=np.uint8).repeat(3).reshape(300, 1, 1, 3)
    origin = origins.DatasetOrigin("", *2 * (ArraySource("x", images, labels),), names, (1, 1, 3), (), ())
    cut = origins.cut_cifar100_small(origin).test
    assert isinstance(cut, Subset)
    positions = np.flatnonzero((labels >= 40) & (labels < 60))
    assert [cut[place][0, 0, 0] for place in range(len(cut))] == (positions % 256).tolist()
    np.testing.assert_array_equal(cut.labels(), labels[positions] - 40)
    assert cut.name(0) == f"image {positions[0]} of x"


def remove_class(folder):
    for path in (folder / "val" / "b" / "deeper").iterdir():
        path.unlink()
    (folder / "val" / "b" / "deeper").rmdir()
    (folder / "val" / "b").rmdir()


def empty_class(folder):
    for path in (folder / "train" / "a" / "deeper").iterdir():
        path.unlink()


def lose_train(folder):
    (folder / "train").rename(folder / "training")


def lose_test(folder):
    (folder / "val").rename(folder / "holdout")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_class, r"must hold the same folders, one for each class \(b\)"),
        (empty_class, r"train/a holds no images"),
        (lose_train, "there is no folder .*DIR/train/CLASS"),
        (lose_test, "has no folder test, val or validation: set --config.data.validation=0.2"),
    ],
)
def test_a_folder_of_another_layout_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message):
        config_checks.check(config(**{"data.folder": str(folder), "data.image_size": 32}), folder / "run")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dataset": "imagenette"}, "there is no imagenette in .*array_record"),
        ({"data.test_split": "holdout"}, 'unknown data.test_split "holdout"'),
        ({"data.workers": -1}, "data.workers must be in"),
        ({"data.loading": "streams"}, 'unknown data.loading "streams"; did you mean "stream"'),
        ({"data.loading": "memory", "data.image_size": 32}, "data.image_size is for streamed data"),
        ({"data.loading": "memory", "augment.resized_crop": True}, "augment.resized_crop is for streamed data"),
        ({"data.loading": "memory", "dataset": "mydata"}, 'unknown data set "mydata".*--config.data.folder=DIR'),
        ({"dataset": ""}, "which images.*--config.data.folder=DIR"),
        ({"data.validation": 1.0}, r"data.validation is a share in \[0, 1\)"),
        ({"sampler.kind": "rho"}, "sampler.kind=rho chooses among images on the devices"),
        ({"teacher.cache": "views", "teacher.name": "resnet8"}, "a cache of teacher outputs is for images in memory"),
    ],
)
def test_options_that_do_not_go_together_are_refused(keys, message, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        config_checks.check(config(**keys), tmp_path / "run")


def left_by(workdir, chosen):
    """What a finished run of that configuration leaves, as far as others look at it."""
    records.write_config(chosen, workdir)
    (workdir / "summary.json").write_text("{}")


def test_data_that_have_changed_since_a_run_began_are_refused(folder, tmp_path):
    chosen = config(**{"data.folder": str(folder), "data.image_size": 32, "batch_size": 8})
    records.write_config(chosen, tmp_path / "run")
    config_checks.check(chosen, tmp_path / "run")
    Image.fromarray(prepared_imagenet.picture(9)).save(folder / "train" / "a" / "new.png")
    origins.find.cache_clear()
    with pytest.raises(UserError, match=r"the data have changed since .*run began \(images: 10 then, 11 now\)"):
        config_checks.check(chosen, tmp_path / "run")


def test_a_teacher_of_another_folder_of_that_name_is_refused(folder, tmp_path):
    other = tmp_path / "other" / "pictures"
    shutil.copytree(folder, other)
    for split in ("train", "val"):
        (other / split / "a").rename(other / split / "c")
    keys = {"data.image_size": 32, "batch_size": 8, "distill.kd.weight": 1.0, "teacher.name": "resnet8"}
    chosen = config(**{"data.folder": str(folder), **keys, "teacher.checkpoint": str(tmp_path / "teacher")})
    left_by(tmp_path / "teacher", naming.teacher_config(config(**{"data.folder": str(other), **keys})))
    with pytest.raises(UserError, match="trained on other classes than pictures has"):
        config_checks.check(chosen, tmp_path / "run")


def test_a_teacher_trained_on_the_stream_of_a_set_fits_the_set_in_memory(tmp_path):
    left_by(tmp_path / "teacher", naming.teacher_config(config(**{"teacher.name": "resnet8"})))
    keys = {"teacher.name": "resnet8", "teacher.checkpoint": str(tmp_path / "teacher"), "data.loading": "memory"}
    with pytest.raises(UserError, match="there is no checkpoint in"):  # All else is right.
        config_checks.check(config(**keys, **{"distill.kd.weight": 1.0}), tmp_path / "run")


def test_a_teacher_for_images_of_another_stem_is_refused(folder, tmp_path):
    keys = {"data.folder": str(folder), "batch_size": 8, "distill.kd.weight": 1.0, "teacher.name": "resnet18"}
    small_images, large_images = (config(**keys, **{"data.image_size": size}) for size in (32, 64))
    left_by(tmp_path / "teacher", naming.teacher_config(small_images))
    large_images = large_images.replaced({"teacher.checkpoint": str(tmp_path / "teacher")})
    with pytest.raises(UserError, match=r"for \(64, 64, 3\) a resnet18 has other parameters"):
        config_checks.check(large_images, tmp_path / "run")


def test_images_that_differ_in_size_want_one(folder, tmp_path):
    with pytest.raises(UserError, match=r"set --config.data.image_size"):
        config_checks.check(config(**{"data.folder": str(folder)}), tmp_path / "run")
