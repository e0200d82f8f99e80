"""Data sets in memory: their sizes and splits, the cache of decoded arrays, and data that are missing or damaged."""

import hashlib
import logging
import re
import shutil

import numpy as np
import pytest

from rdd_jax.data import cifar100_subset, datasets
from rdd_jax.data import tfds as prepared

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def info_of(dataset):
    assert len(dataset.train_images) == len(dataset.train_labels)
    assert len(dataset.test_images) == len(dataset.test_labels)
    assert dataset.train_images.shape[1:] == dataset.test_images.shape[1:]
    sizes = len(dataset.train_images), len(dataset.test_images)
    return datasets.DatasetInfo(*sizes, dataset.train_images.shape[1:], len(dataset.class_names))


def assert_same(left, right):
    for field in ARRAYS:
        np.testing.assert_array_equal(getattr(left, field), getattr(right, field))
        assert getattr(left, field).dtype == getattr(right, field).dtype
    assert left.class_names == right.class_names


# ---- Digits ----


def test_digits_are_as_described():
    digits = datasets.load("digits")
    assert info_of(digits) == datasets.describe("digits") == (1437, 360, (8, 8, 1), 10)
    assert [getattr(digits, field).dtype for field in ARRAYS] == [np.uint8, np.int32, np.uint8, np.int32]
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    pixels = digits.train_images / 255
    np.testing.assert_allclose((digits.mean[0], digits.std[0]), (pixels.mean(), pixels.std()), atol=1e-4)


def test_digits_split_is_fixed_and_stratified():
    digits = datasets.load("digits")
    assert np.bincount(digits.test_labels).tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    digest = hashlib.sha256(b"".join(getattr(digits, field).tobytes() for field in ARRAYS)).hexdigest()
    assert digest[:16] == "a7e8ed5eaff86d26", (
        "the digits, or their split, changed: earlier accuracies are not comparable"
    )


def test_digits_split_is_a_partition():
    from sklearn.datasets import load_digits

    digits = datasets.load("digits")
    together = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, 64)
    everything = np.round(load_digits().data * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, everything))


# ---- Names, and data that is not there ----


@pytest.mark.parametrize("function", [datasets.describe, datasets.check, datasets.is_prepared, datasets.load])
def test_unknown_name_lists_the_known_and_the_nearest(function):
    with pytest.raises(ValueError, match=r'"cifar10"; did you mean "cifar100"\? \(known: digits, mnist, cifar100,'):
        function("cifar10")


def test_digits_are_always_prepared(tmp_path):
    datasets.check("digits", tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar100", "cifar100_small"])
def test_not_prepared_is_one_line_that_mends(name, tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RDD_JAX_CACHE", str(tmp_path / "cache"))
    assert not datasets.is_prepared(name)
    with pytest.raises(datasets.DataNotPrepared):
        datasets.load(name)
    with pytest.raises(datasets.DataNotPrepared) as caught:
        datasets.check(name)
    message = str(caught.value)
    assert "\n" not in message
    for part in (repr(name), str(tmp_path / "data"), str(tmp_path / "cache"), "pip install", "TFDS_DATA_DIR="):
        assert part in message

    # The command in the message is one that the installed TFDS takes, and prepares what is looked for.
    prepared = []
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", lambda builder: prepared.append(builder))
    exec(re.search(r'python -c "(.*?)"', message)[1], {})
    assert prepared[0].info.file_format.value == "array_record"
    assert str(prepared[0].data_path) in message


def test_data_in_another_format_has_to_move_away(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").touch()
    (folder / "mnist-train.tfrecord-00000-of-00001").touch()
    with pytest.raises(datasets.DataNotPrepared, match=f"move away {re.escape(str(folder))}"):
        datasets.check("mnist", tmp_path, tmp_path)


# ---- Reading and caching, from a tiny source that stands in for TFDS ----


class TinySource:
    def __init__(self, seed, size):
        random = np.random.default_rng(seed)
        self.images = random.integers(0, 256, (size, 2, 3, 1), np.uint8)
        self.labels = random.integers(0, 2, size)

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, positions):
        return [{"image": self.images[i], "label": int(self.labels[i])} for i in positions]


class Tiny:
    """The data set "tiny", prepared in a folder of its own."""

    def __init__(self, root, monkeypatch):
        self.data_dir, self.cache_dir = root / "data", root / "cache"
        self.cache = self.cache_dir / "tiny-1.0.0.npz"
        self.train, self.test = TinySource(0, 7), TinySource(1, 4)
        self.times_opened = 0
        folder = self.data_dir / "tiny" / "1.0.0"
        folder.mkdir(parents=True)
        for file in ("dataset_info.json", "tiny-train.array_record-0-of-1", "tiny-test.array_record-0-of-1"):
            (folder / file).touch()
        info = datasets.DatasetInfo(7, 4, (2, 3, 1), 2)
        monkeypatch.setitem(datasets._SPECS, "tiny", datasets._Spec(info, (0.5,), (0.25,), "tiny", "1.0.0"))
        monkeypatch.setattr(prepared, "_open", self.open)
        monkeypatch.setattr(prepared, "_READ_CHUNK", 3)

    def open(self, folder):
        assert folder == self.data_dir / "tiny" / "1.0.0"
        self.times_opened += 1
        return {"train": self.train, "test": self.test}, ("cat", "dog")

    def load(self):
        return datasets.load("tiny", self.data_dir, self.cache_dir)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    return Tiny(tmp_path, monkeypatch)


def test_source_is_read_in_order_and_once(tiny):
    first, second = tiny.load(), tiny.load()
    assert tiny.times_opened == 1
    assert info_of(first) == datasets.describe("tiny")
    np.testing.assert_array_equal(first.train_images, tiny.train.images)
    np.testing.assert_array_equal(first.test_labels, tiny.test.labels)
    assert first.class_names == ("cat", "dog")
    assert (first.mean, first.std) == ((0.5,), (0.25,))
    assert_same(first, second)


def test_cache_is_enough(tiny):
    expected = tiny.load()
    shutil.rmtree(tiny.data_dir)
    datasets.check("tiny", tiny.data_dir, tiny.cache_dir)
    assert_same(tiny.load(), expected)


def test_prepared_data_is_enough(tiny):
    assert datasets.is_prepared("tiny", tiny.data_dir, tiny.cache_dir)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def scribble(path):
    path.write_bytes(b"this is no archive")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 1  # Past the array's header, in its data.
    path.write_bytes(content)


def lose_an_array(path):
    with np.load(path) as arrays:
        kept = {key: arrays[key] for key in arrays if key != "test_labels"}
    np.savez(path, **kept)


def lose_an_image(path):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "train_images": arrays["train_images"][1:]})


def widen_labels(path):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "train_labels": arrays["train_labels"].astype(np.int64)})


@pytest.mark.parametrize("damage", [truncate, empty, scribble, flip_a_bit, lose_an_array, lose_an_image, widen_labels])
def test_damaged_cache_is_replaced_with_a_warning(tiny, damage, caplog):
    expected = tiny.load()
    damage(tiny.cache)
    assert_same(tiny.load(), expected)
    assert tiny.times_opened == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(tiny.cache) in caplog.text
    assert_same(tiny.load(), expected)
    assert tiny.times_opened == 2


def test_an_error_of_another_kind_is_not_taken_for_damage(tiny, monkeypatch):
    tiny.load()
    monkeypatch.setattr(datasets, "_assemble", lambda *_: undefined_name)  # noqa: F821
    with pytest.raises(NameError):
        tiny.load()


def test_damaged_cache_without_a_source_is_not_prepared(tiny):
    tiny.load()
    truncate(tiny.cache)
    shutil.rmtree(tiny.data_dir)
    with pytest.raises(datasets.DataNotPrepared):
        datasets.check("tiny", tiny.data_dir, tiny.cache_dir)
    with pytest.raises(datasets.DataNotPrepared):
        tiny.load()


def test_cache_leaves_nothing_else_behind(tiny):
    tiny.load()
    assert [path.name for path in tiny.cache_dir.iterdir()] == ["tiny-1.0.0.npz"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_write_leaves_no_cache(tiny, error, monkeypatch, caplog):
    def fill_the_disk(file, **arrays):
        file.write(b"half of it")
        raise error("no space left")

    monkeypatch.setattr(np, "savez", fill_the_disk)
    if error is OSError:
        assert info_of(tiny.load()) == datasets.describe("tiny")
        assert "no space left" in caplog.text
    else:
        with pytest.raises(KeyboardInterrupt):
            tiny.load()
    assert list(tiny.cache_dir.iterdir()) == []


def test_source_that_is_not_as_described_is_refused(tiny):
    tiny.test = TinySource(1, 3)
    with pytest.raises(ValueError, match="test_images of tiny"):
        tiny.load()
    assert not tiny.cache.exists()


# ---- cifar100_small, cut from a stand-in whose images spell their position ----


def spell(size):
    digits = np.arange(size)[:, None] // (1, 256, 65536) % 256
    return np.broadcast_to(digits.astype(np.uint8)[:, None, None], (size, 32, 32, 3))


def positions(images):
    return images[:, 0, 0] @ np.array((1, 256, 65536))


def test_small_takes_the_first_images_of_its_classes():
    names = ("filler",) * 40 + cifar100_subset.CLASSES[::-1] + ("filler",) * 40
    train_labels, test_labels = np.arange(50_000, dtype=np.int32) % 100, np.arange(10_000, dtype=np.int32) % 100
    parent = datasets.Dataset("cifar100", spell(50_000), train_labels, spell(10_000), test_labels, names, (), ())
    cut = datasets._cut_cifar100_small(parent)
    assert info_of(cut) == datasets.describe("cifar100_small")
    train, test = positions(cut.train_images), positions(cut.test_images)
    np.testing.assert_array_equal(train, np.sort(train))
    assert train.max() < 250 * 100
    np.testing.assert_array_equal(test, np.flatnonzero((test_labels >= 40) & (test_labels < 60)))
    for found, at, labels in ((cut.train_labels, train, train_labels), (cut.test_labels, test, test_labels)):
        assert [cut.class_names[label] for label in found] == [names[label] for label in labels[at]]


# ---- Real data, where TFDS_DATA_DIR has it ----


def prepared_folder(name):
    folder = datasets._tfds_folder(datasets._spec(name), None)
    if not prepared.holds_array_records(folder):
        pytest.skip(f"no prepared {name} at {folder}; set TFDS_DATA_DIR")
    return folder


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_prepared_data_is_as_described(name, caplog):
    sources, class_names = prepared._open(prepared_folder(name))
    with prepared._without_opencv_advice():
        examples = [source[0] for source in sources.values()]
    info = datasets.describe(name)
    assert [len(sources[split]) for split in ("train", "test")] == [info.num_train, info.num_test]
    assert all(example["image"].shape == info.image_shape for example in examples)
    assert len(class_names) == info.num_classes
    assert not caplog.records


@pytest.fixture(scope="module")
def real_cache_dir(tmp_path_factory):
    """A cache of all of CIFAR-100, removed afterwards: pytest would keep its 180 MB."""
    prepared_folder("cifar100")
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_cifar100(real_cache_dir):
    cifar100 = datasets.load("cifar100", cache_dir=real_cache_dir)
    assert info_of(cifar100) == datasets.describe("cifar100")
    assert np.bincount(cifar100.train_labels).tolist() == [500] * 100
    assert np.bincount(cifar100.test_labels).tolist() == [100] * 100
    pixels = cifar100.train_images[::10] / 255
    np.testing.assert_allclose(cifar100.mean, pixels.mean((0, 1, 2)), atol=3e-3)
    np.testing.assert_allclose(cifar100.std, pixels.std((0, 1, 2)), atol=3e-3)


@pytest.mark.slow
def test_cifar100_small(real_cache_dir):
    dataset = datasets.load("cifar100_small", cache_dir=real_cache_dir)
    assert info_of(dataset) == datasets.describe("cifar100_small")
    assert dataset.class_names == cifar100_subset.CLASSES
    assert np.bincount(dataset.train_labels).tolist() == [250] * 20
    assert np.bincount(dataset.test_labels).tolist() == [100] * 20
