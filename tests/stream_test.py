"""Images that are read as they are needed: the same as those in memory, whoever reads them, in whatever parts."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import numpy as np
import prepared_imagenet
import pytest
from PIL import Image
from program import ROOT, assert_same_to_the_bit, finish, history, kill_at

from configs import base
from rdd_jax import checks, feeds, parallel, runs
from rdd_jax.data import choice, crops, datasets, prepared, small
from rdd_jax.data.sources import Arrays, Chosen, Files
from rdd_jax.data.stream import Stream
from rdd_jax.errors import UserError

STREAMED = "--config.data.loading=stream"
DIGITS = datasets.load("digits")
BATCHES = np.random.default_rng(0).permutation(1437)[:192].reshape(6, 32)
PLACES = np.arange(32)
# Workers are processes, which take seconds to start.
ALL_WORKERS = [0, pytest.param(2, marks=pytest.mark.stress)]


def stream(source=None, shape=(8, 8, 1), **options):
    return Stream(source or Arrays("digits", DIGITS.train_images, DIGITS.train_labels), shape, **options)


# ---- The stream ----


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_batches_are_those_of_the_array_in_order(workers):
    batches = np.stack(list(stream(workers=workers).evaluated(BATCHES)))
    np.testing.assert_array_equal(batches, DIGITS.train_images[BATCHES])
    np.testing.assert_array_equal(np.stack(list(stream(workers=workers).trained(BATCHES, 7, PLACES))), batches)


def test_a_stream_is_indexed_as_an_array_is():
    images = stream()
    assert images.shape == DIGITS.train_images.shape
    assert len(images) == 1437
    mask = DIGITS.train_labels == 3
    for chosen in (slice(5), slice(1400, None, 7), np.array([7, 3, 3]), mask):
        np.testing.assert_array_equal(images[chosen], DIGITS.train_images[chosen])


def test_the_places_behind_the_last_image_are_black():
    batch = next(stream().evaluated(np.array([[4, -1]])))
    np.testing.assert_array_equal(batch[0], DIGITS.train_images[4])
    assert not batch[1].any()


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_a_random_crop_depends_on_seed_update_and_place_alone(workers):
    whole = np.stack(list(stream(resized_crop=True, seed=3).trained(BATCHES, 100, PLACES)))
    images = stream(resized_crop=True, seed=3, workers=workers)
    np.testing.assert_array_equal(np.stack(list(images.trained(BATCHES[2:], 102, PLACES))), whole[2:])
    own_rows = images.trained(BATCHES[:, 16:], 100, PLACES[16:])
    np.testing.assert_array_equal(np.stack(list(own_rows)), whole[:, 16:])
    for other in (
        stream(resized_crop=True, seed=4).trained(BATCHES, 100, PLACES),
        images.trained(BATCHES, 101, PLACES),
    ):
        differ = (np.stack(list(other)) != whole).any(axis=(2, 3, 4))
        assert differ.mean() > 0.9


def test_evaluation_is_shown_no_random_crops():
    np.testing.assert_array_equal(stream(resized_crop=True)[:9], DIGITS.train_images[:9])


@pytest.fixture
def folder(tmp_path):
    """Two classes of five images each, in sizes of their own, and as many to test on."""
    for split in ("train", "val"):
        for class_name in ("b", "a"):
            place = tmp_path / "pictures" / split / class_name / "deeper"
            place.mkdir(parents=True)
            for number in range(5):
                Image.fromarray(prepared_imagenet.picture(number)).save(place / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_an_image_that_cannot_be_read_is_named(folder, workers):
    damaged = folder / "train" / "b" / "deeper" / "2.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    images = stream(Files(folder / "train", ("a", "b")), (16, 16, 3), workers=workers)
    with pytest.raises(UserError, match=f"{re.escape(str(damaged))} cannot be read .*replace it"):
        list(images.evaluated(np.arange(10)[:, None]))


class Deadly(Arrays):
    """Who reads the image at position 70 dies of it, as of too little memory."""

    def __getitem__(self, position):
        if position == 70:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(position)


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_with_the_image_it_was_at():
    images = stream(Deadly("digits", DIGITS.train_images, DIGITS.train_labels), workers=2)
    with pytest.raises(UserError, match=r"died while at image 70 of digits .*exit code -9"):
        list(images.evaluated(np.arange(128).reshape(8, 16)))


# ---- The feed ----


def test_each_device_is_sent_the_rows_that_it_would_look_up(devices):
    calls = [BATCHES[:3], BATCHES[3:5]]
    for call, sent in zip(calls, feeds.of(stream()).trained(0, calls, 3), strict=True):
        own = parallel.split_rows(call)
        assert sent.shape == (devices, 3, 32 // devices, 8, 8, 1)
        np.testing.assert_array_equal(sent[:, : len(call)], DIGITS.train_images[own])
        assert not sent[:, len(call) :].any()
    places = parallel.padded_batches(90, 40)
    for indices, sent in zip(places, feeds.of(stream()).evaluated(places), strict=True):
        np.testing.assert_array_equal(sent[indices >= 0], DIGITS.train_images[indices[indices >= 0]])


def test_random_crops_are_the_same_however_many_devices_there_are(devices):
    images = stream(resized_crop=True)
    sent = next(feeds.of(images).trained(7, [BATCHES[:1]], 1))
    whole = next(images.trained(BATCHES[:1], 7, PLACES))
    np.testing.assert_array_equal(sent.reshape(whole.shape), whole)


# ---- The worker processes ----

READS = """
import sys, time, numpy as np
from rdd_jax.data.sources import Arrays
from rdd_jax.data.stream import Stream

class Slow(Arrays):
    def __getitem__(self, position):
        time.sleep(0.2)
        return super().__getitem__(position)

if __name__ == "__main__":
    source = Slow("x", np.zeros((1000, 2, 2, 1), np.uint8), np.zeros(1000, np.int32))
    for batch in Stream(source, (2, 2, 1), workers=2).evaluated(np.arange(1000).reshape(100, 10)):
        print("batch", flush=True)
"""


@pytest.fixture
def reader(tmp_path):
    """A program that streams by two workers, in a group of its own, once it has its first batch; and its children."""
    path = tmp_path / "reads.py"
    path.write_text(READS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(path)], env=environment, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "batch\n"
    children = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    workers = [int(pid) for pid in " ".join(children).split()]
    assert len(workers) >= 2
    yield process, workers
    process.kill()


def assert_soon_gone(pids):
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker process has outlived its parent"
        time.sleep(0.1)


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return "Z"


@pytest.mark.slow
@pytest.mark.stress
def test_ctrl_c_in_a_terminal_is_heard_by_the_program_alone(reader):
    process, workers = reader
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert "has died" not in err
    assert err.count("Traceback") == 1
    assert_soon_gone(workers)


@pytest.mark.slow
@pytest.mark.stress
def test_workers_end_with_a_program_that_is_killed(reader):
    process, workers = reader
    process.kill()
    process.wait()
    assert_soon_gone(workers)


# ---- Crops ----


def test_the_middle_of_256_pixels_is_224_of_them_untouched():
    image = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    np.testing.assert_array_equal(crops.middle_crop(image, (224, 224)), image[16:240, 38:262])


@pytest.mark.parametrize("shape", [(40, 90, 3), (90, 40, 1), (7, 300, 3)])
def test_crops_of_one_colour_keep_it_and_have_the_size_asked_for(shape):
    image = np.full(shape, 77, np.uint8)
    for crop in (crops.middle_crop(image, (12, 16)), crops.random_crop(image, (12, 16), np.random.default_rng(0))):
        assert crop.shape == (12, 16, shape[2])
        assert (crop == 77).all()


def test_random_crops_keep_8_to_100_percent_at_3_to_4():
    """Told from where the corners of the crop come from: the image's colours are its coordinates."""
    size = 240
    rows, columns = np.mgrid[:size, :size].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    heights, widths = [], []
    for seed in range(300):
        crop = crops.random_crop(image, (60, 60), np.random.default_rng(seed)).astype(float)
        heights.append((crop[-1, 30, 0] - crop[0, 30, 0]) * 60 / 59)
        widths.append((crop[30, -1, 1] - crop[30, 0, 1]) * 60 / 59)
    shares, ratios = np.multiply(heights, widths) / size**2, np.divide(widths, heights)
    slack = 0.04  # A corner's colour is rounded, and an average of some pixels.
    assert shares.min() > 0.08 - slack
    assert shares.min() < 0.2
    assert shares.max() > 0.9
    # Uniform in the area, but that large areas are drawn again where their shape does not fit.
    assert 0.4 < np.mean(shares) < 0.56
    assert ratios.min() > 3 / 4 - slack
    assert ratios.max() < 4 / 3 + slack
    assert ratios.min() < 0.8
    assert ratios.max() > 1.25


# ---- What a configuration chooses ----


def config(preset="digits", **keys):
    chosen = base.get_config(preset)
    chosen.data.loading = "stream"
    chosen.update_from_flattened_dict(keys)
    return chosen


def test_a_folder_is_read_by_class_and_path(folder):
    chosen = config(**{"data.folder": str(folder), "data.image_size": 32})
    assert choice.name(chosen) == "pictures"
    assert choice.describe(chosen) == (10, 10, (32, 32, 3), 2)
    loaded = choice.load(chosen)
    assert loaded.class_names == ("a", "b")
    assert loaded.train_labels.tolist() == [0] * 5 + [1] * 5
    expected = np.stack([crops.middle_crop(prepared_imagenet.picture(number), (32, 32)) for number in range(5)])
    np.testing.assert_array_equal(loaded.train_images[:5], expected)
    np.testing.assert_array_equal(loaded.test_images[5:], expected)


def test_what_is_hidden_or_no_file_is_no_image_and_links_are_followed(tmp_path):
    place = tmp_path / "a"
    (place / ".thumbnails").mkdir(parents=True)
    (place / "folder.png").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (place / "1.png", place / "._1.png", place / ".thumbnails" / "2.png", elsewhere / "3.png"):
        Image.fromarray(prepared_imagenet.picture(1)).save(path)
    (place / "broken.png").symlink_to(tmp_path / "nothing.png")
    (place / "linked").symlink_to(elsewhere)
    assert Files(tmp_path, ("a",)).paths == [str(place / "1.png"), str(place / "linked" / "3.png")]


def test_pixels_of_16_bits_are_refused_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "deep.png"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(path)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))} cannot be read \(its pixels are I;16"):
        stream(Files(tmp_path, ("a",)), (8, 8, 3))[:1]


def test_gray_files_are_read_as_rgb(tmp_path):
    (tmp_path / "a").mkdir()
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(gray).save(tmp_path / "a" / "gray.png")
    np.testing.assert_array_equal(Files(tmp_path, ("a",))[0], np.stack([gray] * 3, axis=-1))


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RDD_JAX_CACHE", str(tmp_path / "cache"))
    return prepared_imagenet.prepare(tmp_path)


def test_imagenet_is_found_described_and_read(imagenet):
    chosen = config("imagenet2012")
    assert choice.describe(chosen) == (24, 10, (224, 224, 3), 1000)
    loaded = choice.load(chosen)
    assert loaded.train_labels.tolist() == [37 * number % 1000 for number in range(24)]
    expected = crops.middle_crop(prepared_imagenet.picture(3), (224, 224)).astype(float)
    assert np.abs(loaded.test_images[3:4] - expected).mean() < 1.5  # JPEG's loss.
    assert loaded.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("left", [100, 0])
def test_labels_are_read_once_and_a_damaged_cache_is_replaced(imagenet, tmp_path, monkeypatch, caplog, left):
    labels = prepared.read_labels(imagenet, "train", 24, tmp_path / "labels")
    (cache,) = (tmp_path / "labels").iterdir()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(prepared, "_chunks", lambda *_: pytest.fail("read again"))
        np.testing.assert_array_equal(prepared.read_labels(imagenet, "train", 24, tmp_path / "labels"), labels)
    cache.write_bytes(cache.read_bytes()[:left])
    np.testing.assert_array_equal(prepared.read_labels(imagenet, "train", 24, tmp_path / "labels"), labels)
    assert str(cache) in caplog.text


def test_another_preparation_of_the_same_version_has_labels_of_its_own(tmp_path):
    sizes = ({"train": 24, "validation": 3}, {"train": 9, "validation": 3})
    for number, size in enumerate(sizes):
        folder = prepared_imagenet.prepare(tmp_path / str(number), size)
        assert len(prepared.read_labels(folder, "train", size["train"], tmp_path / "labels")) == size["train"]


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
    choice._find.cache_clear()
    with pytest.raises(
        UserError, match=f"the data set in {re.escape(str(imagenet))} cannot be read .*prepare it again"
    ):
        choice.load(config("imagenet2012"))


def test_a_split_without_labels_is_refused(monkeypatch):
    origin = choice._find("digits", "", "", None, None)
    without = Arrays("digits test", DIGITS.test_images, np.full_like(DIGITS.test_labels, -1))
    monkeypatch.setattr(choice, "_find", lambda *_: origin._replace(test=without))
    with pytest.raises(UserError, match=r"image 0 of digits test and 359 more have no label.*data.test_split"):
        choice.load(config())


def test_records_go_to_other_processes_closed(imagenet):
    source = choice._find_records(imagenet, "", imagenet).train
    image = source[2]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[2], image)


def test_the_newest_version_is_taken(tmp_path):
    for version in ("2.0.0", "10.0.0", "11.0.0", "other"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dataset_info.json").touch()
        if version != "11.0.0":  # Of another format.
            (tmp_path / version / "x-train.array_record-0-of-1").touch()
    assert prepared.newest(tmp_path).name == "10.0.0"
    assert prepared.newest(tmp_path / "nothing") is None


def test_small_is_the_same_part_of_a_streamed_set():
    names = tuple(f"filler{number}" for number in range(40)) + small.CLASSES + ("filler",) * 40
    labels = np.random.default_rng(0).integers(0, 100, 300).astype(np.int32)
    images = np.arange(300, dtype=np.uint8).repeat(3).reshape(300, 1, 1, 3)
    origin = choice._Origin("", *2 * (Arrays("x", images, labels),), names, (1, 1, 3), (), ())
    cut = choice._find_small(origin).test
    assert isinstance(cut, Chosen)
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
        (lose_test, "no split train, or none to test on"),
    ],
)
def test_a_folder_of_another_layout_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message):
        checks.check(config(**{"data.folder": str(folder), "data.image_size": 32}), folder / "run")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dataset": "imagenette"}, "there is no imagenette in .*array_record"),
        ({"data.test_split": "holdout"}, 'unknown data.test_split "holdout"'),
        ({"data.workers": -1}, "data.workers must be in"),
        ({"data.loading": "streams"}, 'unknown data.loading "streams"; did you mean "stream"'),
        ({"data.loading": "memory", "data.image_size": 32}, "data.image_size is for streamed data"),
        ({"data.loading": "memory", "augment.resized_crop": True}, "augment.resized_crop is for streamed data"),
        ({"data.loading": "memory", "data.folder": "x"}, "data.folder is for streamed data"),
        ({"sampler.kind": "rho"}, "sampler.kind=rho chooses among images on the devices"),
        ({"teacher.cache": "views", "teacher.name": "resnet8"}, "a cache of views is for images in memory"),
    ],
)
def test_options_that_do_not_go_together_are_refused(keys, message, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=message):
        checks.check(config(**keys), tmp_path / "run")


def left_by(workdir, chosen):
    """What a finished run of that configuration leaves, as far as others look at it."""
    runs.write_config(chosen, workdir)
    (workdir / "summary.json").write_text("{}")


def test_data_that_have_changed_since_a_run_began_are_refused(folder, tmp_path):
    chosen = config(**{"data.folder": str(folder), "data.image_size": 32, "batch_size": 8})
    runs.write_config(chosen, tmp_path / "run")
    checks.check(chosen, tmp_path / "run")
    Image.fromarray(prepared_imagenet.picture(9)).save(folder / "train" / "a" / "new.png")
    choice._find.cache_clear()
    with pytest.raises(UserError, match=r"the data have changed since .*run began \(images: 10 then, 11 now\)"):
        checks.check(chosen, tmp_path / "run")


def test_a_teacher_of_another_folder_of_that_name_is_refused(folder, tmp_path):
    other = tmp_path / "other" / "pictures"
    shutil.copytree(folder, other)
    for split in ("train", "val"):
        (other / split / "a").rename(other / split / "c")
    keys = {"data.image_size": 32, "batch_size": 8, "distill.kd.weight": 1.0, "teacher.name": "resnet8"}
    chosen = config(**{"data.folder": str(folder), **keys, "teacher.checkpoint": str(tmp_path / "teacher")})
    left_by(tmp_path / "teacher", runs.teacher_config(config(**{"data.folder": str(other), **keys})))
    with pytest.raises(UserError, match="trained on other classes than pictures has"):
        checks.check(chosen, tmp_path / "run")


def test_a_teacher_for_images_of_another_stem_is_refused(folder, tmp_path):
    keys = {"data.folder": str(folder), "batch_size": 8, "distill.kd.weight": 1.0, "teacher.name": "resnet18"}
    small_images, large_images = (config(**keys, **{"data.image_size": size}) for size in (32, 64))
    left_by(tmp_path / "teacher", runs.teacher_config(small_images))
    large_images.teacher.checkpoint = str(tmp_path / "teacher")
    with pytest.raises(UserError, match=r"for \(64, 64, 3\) a resnet18 has other parameters"):
        checks.check(large_images, tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    chosen = base.get_config("digits")
    earlier = chosen.to_dict()
    del earlier["data"], earlier["augment"]["resized_crop"], earlier["on_nan"], earlier["pair"]
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    assert not runs.differences(runs.read_config(tmp_path), chosen)
    checks.check(chosen, tmp_path)


def test_images_that_differ_in_size_want_one(folder, tmp_path):
    with pytest.raises(UserError, match=r"set --config.data.image_size"):
        checks.check(config(**{"data.folder": str(folder)}), tmp_path / "run")


# ---- Training ----


@pytest.mark.slow
def test_streamed_training_is_that_in_memory_to_the_bit(start, straight):
    assert_same_to_the_bit(finish(*start("streamed", STREAMED)), straight)


@pytest.mark.slow
@pytest.mark.stress
def test_killed_in_the_middle_of_an_epoch_it_reads_on_from_there(start, straight):
    kill_at(3, *start("killed", STREAMED, devices=2))
    assert history(finish(*start("killed", STREAMED))) != []
    kill_at(6, *start("again", STREAMED, "--config.data.workers=1"))
    assert_same_to_the_bit(finish(*start("again", STREAMED)), straight)


@pytest.mark.slow
@pytest.mark.stress
def test_imagenet_trains_to_its_end(imagenet, start):
    keys = {
        "preset": "imagenet2012",
        "dataset": "imagenet2012",
        "data.image_size": 64,
        "augment.pad": 0,
        "augment.flip": True,
        "augment.resized_crop": True,
        "batch_size": 8,
        "distill.rdd.num_negatives": 16,
        "distill.rdd.pool_size": 4,
    }
    workdir = finish(*start("imagenet", STREAMED, *(f"--config.{key}={value}" for key, value in keys.items())))
    lines = history(workdir)
    assert [line["split"] for line in lines] == ["train", "test"] * 3
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert lines[-1]["step"] == 9
