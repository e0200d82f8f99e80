"""Streamed images: the same as those in memory, by threads and by worker processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from program import ROOT

from rdd_jax.core.errors import DataReadError
from rdd_jax.data import datasets
from rdd_jax.data.folders import FileSource
from rdd_jax.data.resize import ResizeRule
from rdd_jax.data.sources import ArraySource
from rdd_jax.data.streaming import Stream

DIGITS = datasets.load("digits")
BATCHES = np.random.default_rng(0).permutation(1437)[:192].reshape(6, 32)
PLACES = np.arange(32)
# Workers are processes, which take seconds to start.
ALL_WORKERS = [0, pytest.param(2, marks=pytest.mark.stress)]


def stream(source=None, shape=(8, 8, 1), **options):
    return Stream(source or ArraySource("digits", DIGITS.train_images, DIGITS.train_labels), shape, **options)


# ---- The stream ----


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_batches_are_those_of_the_array_in_order(workers):
    batches = np.stack(list(stream(workers=workers).evaluation_batches(BATCHES)))
    np.testing.assert_array_equal(batches, DIGITS.train_images[BATCHES])
    np.testing.assert_array_equal(np.stack(list(stream(workers=workers).train_batches(BATCHES, 7, PLACES))), batches)


def test_a_stream_is_indexed_as_an_array_is():
    images = stream()
    assert images.shape == DIGITS.train_images.shape
    assert len(images) == 1437
    mask = DIGITS.train_labels == 3
    for chosen in (slice(5), slice(1400, None, 7), np.array([7, 3, 3]), mask):
        np.testing.assert_array_equal(images[chosen], DIGITS.train_images[chosen])


def test_the_places_behind_the_last_image_are_black():
    batch = next(stream().evaluation_batches(np.array([[4, -1]])))
    np.testing.assert_array_equal(batch[0], DIGITS.train_images[4])
    assert not batch[1].any()


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_a_random_crop_depends_on_seed_update_and_place_alone(workers):
    whole = np.stack(list(stream(resized_crop=True, seed=3).train_batches(BATCHES, 100, PLACES)))
    images = stream(resized_crop=True, seed=3, workers=workers)
    np.testing.assert_array_equal(np.stack(list(images.train_batches(BATCHES[2:], 102, PLACES))), whole[2:])
    own_rows = images.train_batches(BATCHES[:, 16:], 100, PLACES[16:])
    np.testing.assert_array_equal(np.stack(list(own_rows)), whole[:, 16:])
    for other in (
        stream(resized_crop=True, seed=4).train_batches(BATCHES, 100, PLACES),
        images.train_batches(BATCHES, 101, PLACES),
    ):
        differ = (np.stack(list(other)) != whole).any(axis=(2, 3, 4))
        assert differ.mean() > 0.9


def test_evaluation_is_shown_no_random_crops():
    np.testing.assert_array_equal(stream(resized_crop=True)[:9], DIGITS.train_images[:9])


@pytest.mark.parametrize("workers", ALL_WORKERS)
def test_an_image_that_cannot_be_read_is_named(folder, workers):
    damaged = folder / "train" / "b" / "deeper" / "2.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    files = FileSource(folder / "train", ("a", "b"))
    images = stream(files, (16, 16, 3), rule=ResizeRule(16, 16), workers=workers)
    with pytest.raises(DataReadError, match=f"{re.escape(str(damaged))} cannot be read .*replace it"):
        list(images.evaluation_batches(np.arange(10)[:, None]))


def test_an_error_of_another_kind_is_not_blamed_on_the_image(monkeypatch):
    images = stream(
        ArraySource("digits", DIGITS.train_images, DIGITS.train_labels), (16, 16, 1), rule=ResizeRule(16, 16)
    )
    monkeypatch.setattr(ResizeRule, "apply", lambda *_: undefined_name)  # noqa: F821
    with pytest.raises(NameError):
        list(images.evaluation_batches(np.arange(10)[:, None]))


class Deadly(ArraySource):
    """Who reads the image at position 70 dies of it, as of too little memory."""

    def __getitem__(self, position):
        if position == 70:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(position)


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_with_the_image_it_was_at():
    images = stream(Deadly("digits", DIGITS.train_images, DIGITS.train_labels), workers=2)
    with pytest.raises(DataReadError, match=r"died while at image 70 of digits .*exit code -9"):
        list(images.evaluation_batches(np.arange(128).reshape(8, 16)))


# ---- The worker processes ----

READS = """
import sys, time, numpy as np
from rdd_jax.data.resize import ResizeRule
from rdd_jax.data.sources import ArraySource
from rdd_jax.data.streaming import Stream

class Slow(ArraySource):
    def __getitem__(self, position):
        time.sleep(0.2)
        return super().__getitem__(position)

if __name__ == "__main__":
    source = Slow("x", np.zeros((1000, 2, 2, 1), np.uint8), np.zeros(1000, np.int32))
    for batch in Stream(source, (2, 2, 1), workers=2).evaluation_batches(np.arange(1000).reshape(100, 10)):
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
