"""Images that need not fit into memory: read, cut and batched ahead of the devices, by Grain.

What an epoch reads, in which order and from which step on, are arguments. So there is no state to be saved: a run goes
on in the middle of an epoch by asking for the rest of it, and every process asks for its own rows of the same batches.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from PIL import Image

from rdd_jax.core.errors import DataReadError
from rdd_jax.data import crops
from rdd_jax.data.resize import ResizeRule
from rdd_jax.data.sources import Source

_MOST_THREADS = 16
_STOPS = (signal.SIGINT, signal.SIGTERM)
_whereabouts: int | None = None  # In a worker process: the file where it says which image it is at.


class Stream:
    """A source's images, all of one shape, as an array uint8[n,h,w,c] would have them but that nothing is kept.

    Args:
        source: of the images.
        image_shape: height, width and channels.
        rule: scales images to that height and width; None if all images have them already.
        resized_crop: whether training is shown random crops, scaled, instead of the images as they are evaluated.
        seed: of those crops.
        workers: processes that read; 0 for threads of this one.
    """

    def __init__(
        self,
        source: Source,
        image_shape: tuple[int, int, int],
        *,
        rule: ResizeRule | None = None,
        resized_crop: bool = False,
        seed: int = 0,
        workers: int = 0,
    ):
        self._source = source
        self._image_shape = image_shape
        self._rule = rule
        self._resized_crop = resized_crop
        self._seed = seed
        self._workers = workers

    def __len__(self) -> int:
        return len(self._source)

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's: (n, height, width, channels)."""
        return (len(self), *self._image_shape)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        """uint8[m,h,w,c], as they are evaluated: the images at positions i32[m], of a mask bool[n], or of a slice.

        Raises:
            DataReadError: where an image cannot be read.
        """
        positions = np.arange(len(self))[np.asarray(chosen) if not isinstance(chosen, slice) else chosen]
        images = np.empty((len(positions), *self._image_shape), np.uint8)
        with contextlib.closing(self.evaluation_batches(positions[:, None])) as batches:
            for row, batch in enumerate(batches):
                images[row] = batch[0]
        return images

    def evaluation_batches(self, positions: np.ndarray) -> Iterator[np.ndarray]:
        """Batches uint8[b,h,w,c] of the images at positions i32[batches,b], as networks are evaluated on them.

        Where a position is negative the image is black.

        Raises:
            DataReadError: where an image cannot be read; with its name, as all errors here.
        """
        return self._batches(_Read(self._source, self._image_shape, self._rule, positions))

    def train_batches(self, positions: np.ndarray, first_step: int, global_rows: np.ndarray) -> Iterator[np.ndarray]:
        """Batches uint8[b,h,w,c] of the images at positions i32[steps,b], as networks are trained on them.

        Without `resized_crop` they are those of `evaluation_batches`.

        Args:
            positions: of the images.
            first_step: the update that sees the first batch.
            global_rows: i32[b], the rows of the global batch. A crop is keyed by (seed, update, row).

        Raises:
            DataReadError: where an image cannot be read.
        """
        keyed = _Crops(self._seed, first_step, global_rows) if self._resized_crop else None
        return self._batches(_Read(self._source, self._image_shape, self._rule, positions, keyed))

    def _batches(self, read: "_Read") -> Iterator[np.ndarray]:
        return _by_processes(read, self._workers) if self._workers else _by_threads(read)


def _by_threads(read: "_Read") -> Iterator[np.ndarray]:
    import grain  # Half a second, which only those who stream should wait.

    rows = read.positions.shape[1]
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 2 * rows))
    yield from grain.MapDataset.range(read.positions.size).map(read).to_iter_dataset(ahead).batch(rows)


def _by_processes(read: "_Read", workers: int) -> Iterator[np.ndarray]:
    import grain

    if not flags.FLAGS.is_parsed():  # Grain 0.2 reads a flag of its own, and the program's are parsed elsewhere.
        flags.FLAGS.mark_as_parsed()
    # Whole batches, as each process makes its own.
    batches = grain.MapDataset.range(read.positions.size).map(read).batch(read.positions.shape[1])
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
    with tempfile.TemporaryDirectory(prefix="rdd_jax-") as folder:
        ready = iter(
            batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=workers),
                worker_init_fn=partial(_begin_work, folder, os.getpid()),
            )
        )
        try:
            with _signals_later():  # Processes start with what is held back here.
                batch = next(ready, None)
            while batch is not None:
                yield np.array(batch)  # A copy: the worker's own is in shared memory, which has to be given back.
                batch = next(ready, None)
        except RuntimeError as error:
            images = " or ".join(read.source.name(position) for position in _left_by_the_dead(Path(folder)))
            raise DataReadError(
                f"a process that reads data has died while at {images or 'no image'} ({str(error).split('.')[0]}): "
                "replace that image, or give --config.data.workers=0 or more memory; the same command goes on"
            ) from error
        finally:
            ready.close()


class _Crops(NamedTuple):
    """What random crops are keyed by: a seed, the update that sees the first batch, the places of its rows i32[b]."""

    seed: int
    first_step: int
    places: np.ndarray


class _Read:
    """What threads and processes run: the number of a row, counted over all batches -> its image uint8[h,w,c].

    rule: scales the images; None if all have `image_shape` already.
    positions: i32[batches,b].
    crops: what random crops are keyed by; None for the images as they are evaluated.
    """

    def __init__(
        self,
        source: Source,
        image_shape: tuple[int, int, int],
        rule: ResizeRule | None,
        positions: np.ndarray,
        crops: _Crops | None = None,
    ):
        self.source, self.positions = source, positions
        self._image_shape, self._rule, self._crops = image_shape, rule, crops

    def __call__(self, number: int) -> np.ndarray:
        batch, row = divmod(number, self.positions.shape[1])
        position = int(self.positions[batch, row])
        if position < 0:
            return np.zeros(self._image_shape, np.uint8)
        if _whereabouts is not None:
            os.pwrite(_whereabouts, struct.pack("q", position), 0)
        try:
            image = self.source[position]
            self._check_shape(image)
        except ValueError as error:
            raise DataReadError(
                f"{self.source.name(position)} cannot be read ({error}): replace it; the same command goes on"
            ) from error
        return self._resized(image, batch, row)

    def _check_shape(self, image: np.ndarray) -> None:
        height, width, channels = self._image_shape
        if image.ndim != 3 or image.shape[2] != channels:
            raise ValueError(f"its shape is {image.shape}, and {channels} channels are expected")
        if not self._rule and image.shape[:2] != (height, width):
            found = "{1} x {0}".format(*image.shape)
            raise ValueError(f"it has {found} pixels, the first image has {width} x {height}, and data.image_size is 0")

    def _resized(self, image: np.ndarray, batch: int, row: int) -> np.ndarray:
        if self._crops:
            height, width, _ = self._image_shape
            key = [self._crops.seed, self._crops.first_step + batch, self._crops.places[row]]
            rule = self._rule or ResizeRule(height, width)
            return crops.random_crop(_as_pillow(image), rule, np.random.default_rng(key))
        return image if image.shape == self._image_shape else self._rule.apply(_as_pillow(image))


def _as_pillow(image: np.ndarray) -> Image.Image:
    """uint8[h,w,c] of 1 or 3 channels as Pillow has it."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _begin_work(folder: str, parent: int, worker: int, workers: int) -> None:
    """What a worker process does first.

    It says which image it is at in a file of its own, so that others know should it die. Signals are the parent's
    affair: Ctrl-C goes to all processes of a terminal. And it ends with its parent, were that by kill -9.
    """
    global _whereabouts
    _whereabouts = os.open(Path(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY)
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with, args=(folder, parent), daemon=True).start()


def _end_with(folder: str, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Holds back what asks the program to stop, from this thread and from processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _left_by_the_dead(folder: Path) -> list[int]:
    """The positions of the images at which worker processes were that are no more."""
    alive = {str(process.pid) for process in multiprocessing.active_children()}
    contents = [path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in alive]
    return [struct.unpack("q", content)[0] for content in contents if content]
