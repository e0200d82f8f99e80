"""Folders of image files: which files count, how they are decoded, and which are held out."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading as choice
from rdd_jax.data import splits
from rdd_jax.data.folders import FileSource
from rdd_jax.data.options import AugmentOptions, DataOptions
from rdd_jax.data.streaming import Stream


def save(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return path


def test_hidden_files_folders_and_dangling_links_are_no_images(tmp_path):
    for name in ("1.png", "._1.png", ".thumbnails/2.png", "deeper/3.PNG"):
        save(tmp_path / "a" / name)
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "nothing.png")
    assert FileSource(tmp_path, ("a",)).paths == [str(tmp_path / "a" / name) for name in ("1.png", "deeper/3.PNG")]


def test_links_to_folders_within_a_class_are_not_followed(tmp_path):
    own = save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png")
    for name, target in {"again": ".", "twice": ".", "up": "..", "other": "../b"}.items():
        (tmp_path / "a" / name).symlink_to(target)
    assert FileSource(tmp_path, ("a",)).paths == [str(own)]


def test_links_to_files_are_followed_and_every_file_counts_once(tmp_path):
    own, elsewhere = save(tmp_path / "a" / "own.png"), save(tmp_path / "store" / "1.png")
    (tmp_path / "a" / "also_own.png").symlink_to(own)
    for name in ("x.png", "y.png"):
        (tmp_path / "a" / name).symlink_to(elsewhere)
    assert FileSource(tmp_path, ("a",)).paths == [str(own), str(tmp_path / "a" / "x.png")]


def test_a_class_may_be_a_link_but_not_to_another_class(tmp_path):
    folder = flat(tmp_path / "pictures", a=2, b=2)
    save(tmp_path / "store" / "c" / "1.png")
    save(tmp_path / "store" / "c" / "2.png")
    (folder / "c").symlink_to(tmp_path / "store" / "c")
    assert choice.describe(config(folder)).num_classes == 3
    (folder / "again").symlink_to(".")
    choice.origins.find.cache_clear()
    with pytest.raises(UserError, match=r"the folder . is in again: each class needs its own"):
        choice.describe(config(folder))
    (folder / "again").unlink()
    (folder / "again").symlink_to("a")
    with pytest.raises(UserError, match=r"the folder a.* is a link to another class"):
        choice.describe(config(folder))


def test_pixels_of_16_bits_are_refused_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "deep.png"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(path)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))} cannot be read \(its pixels are I;16"):
        Stream(FileSource(tmp_path, ("a",)), (8, 8, 3))[:1]


def test_gray_files_are_read_as_rgb(tmp_path):
    (tmp_path / "a").mkdir()
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(gray).save(tmp_path / "a" / "gray.png")
    np.testing.assert_array_equal(FileSource(tmp_path, ("a",))[0], np.stack([gray] * 3, axis=-1))


# ---- A share that is held out ----


def flat(folder, **counts):
    """DIR/CLASS/*.png, every image of one colour of its own."""
    colours = iter(range(256))
    for class_name, count in counts.items():
        for number in range(count):
            save(folder / class_name / f"{number}.png", next(colours))
    return folder


def config(folder, **keys):
    return DataOptions(folder=str(folder), **{"validation": 0.2} | keys)


def colours(images):
    return set(images[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_a_flat_folder_is_divided_class_by_class_the_same_for_every_seed(tmp_path, loading):
    folder = flat(tmp_path / "pictures", a=20, b=10, c=2)
    chosen = config(folder, loading=loading)
    assert choice.describe(chosen) == (25, 7, (8, 8, 3), 3)
    data = choice.load(chosen)
    assert np.bincount(data.test_labels).tolist() == [4, 2, 1]
    train, test = colours(data.train_images[:]), colours(data.test_images[:])
    assert train | test == set(range(32))
    assert not train & test
    assert data.validation_images is None
    again = choice.load(config(folder, loading=loading), seed=5)
    np.testing.assert_array_equal(again.test_images[:], data.test_images[:])
    assert isinstance(data.train_images, np.ndarray) == (loading == "memory")


def test_a_flat_folder_wants_a_share_and_the_message_gives_it(tmp_path):
    folder = flat(tmp_path / "pictures", a=3, b=3)
    with pytest.raises(UserError, match=r"set --config.data.validation=0.2"):
        choice.check(config(folder, validation=0.0), AugmentOptions())


def test_a_share_is_held_out_besides_a_split_to_test_on(tmp_path):
    for split, count in (("train", 10), ("test", 3)):
        flat(tmp_path / split, a=count, b=count)
    chosen = config(tmp_path)
    assert choice.describe(chosen)[:2] == (16, 6)
    data = choice.load(chosen)
    assert np.bincount(data.validation_labels).tolist() == [2, 2]
    assert colours(data.train_images) | colours(data.validation_images) == set(range(20))


def unlabelled(folder, train=4, **test):
    """DIR/train/*.png and DIR/test/CLASS/*.png."""
    flat(folder, train=train)
    flat(folder / "test", **test)
    return folder


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_a_folder_of_training_images_without_labels(tmp_path, loading):
    chosen = config(unlabelled(tmp_path, a=2, b=1), validation=0.0, loading=loading)
    assert choice.describe(chosen) == (4, 3, (8, 8, 3), 2)
    assert not choice.is_labelled(chosen)
    data = choice.load(chosen)
    assert data.train_labels.tolist() == 4 * [-1]
    assert data.test_labels.tolist() == [0, 0, 1]
    assert colours(data.train_images[:]) == set(range(4))
    assert data.class_names == ("a", "b")


def test_mistakes_in_a_folder_without_labels_are_named(tmp_path):
    folder = unlabelled(tmp_path / "one", a=1, b=1)
    with pytest.raises(UserError, match=r"divides the images class by class.*set --config.data.validation=0"):
        choice.describe(config(folder))
    nothing = config(unlabelled(tmp_path / "two"), validation=0.0)
    (tmp_path / "two" / "test").mkdir()
    with pytest.raises(UserError, match=r"two/test must hold a folder of images for each class, and there is none"):
        choice.describe(nothing)
    empty = config(unlabelled(tmp_path / "three", train=0, a=1, b=1), validation=0.0)
    (tmp_path / "three" / "train").mkdir()
    with pytest.raises(UserError, match=r"three/train holds no images"):
        choice.describe(empty)


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_a_share_of_the_digits_is_held_out(loading):
    chosen = DataOptions(validation=0.1, loading=loading)
    data = choice.load(chosen)
    assert choice.describe(chosen).num_train == len(data.train_images) == len(data.train_labels)
    assert len(data.train_images) + len(data.validation_images) == 1437
    assert len(data.test_images) == 360
    assert data.validation_images[:].shape == (len(data.validation_labels), 8, 8, 1)


def test_classes_of_a_single_image_cannot_be_divided():
    with pytest.raises(UserError, match=r"class 1 .* single image"):
        splits.hold_out(np.array([0, 0, 1]), 0.5)


def test_a_folder_too_large_for_memory_is_to_be_streamed(tmp_path, monkeypatch):
    folder = flat(tmp_path / "pictures", a=5, b=5)
    monkeypatch.setattr(choice, "_MOST_BYTES", 10 * 8 * 8 * 3 - 1)
    with pytest.raises(UserError, match=r"set --config.data.loading=stream"):
        choice.check(config(folder), AugmentOptions())
    choice.check(config(folder, loading="stream"), AugmentOptions())


def test_a_moved_and_renamed_folder_keeps_its_fingerprint_and_another_image_changes_it(tmp_path):
    folder = flat(tmp_path / "pictures", a=5, b=5)
    before = choice.fingerprint(config(folder))
    os.rename(folder, tmp_path / "photos")
    assert choice.fingerprint(config(tmp_path / "photos")) == before
    save(tmp_path / "photos" / "a" / "new.png")
    choice.origins.find.cache_clear()
    assert choice.fingerprint(config(tmp_path / "photos")) != before
