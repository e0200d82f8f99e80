"""Reads batches ahead of their use, by threads of this process or by worker processes, with Grain.

Worker processes end with their parent, ignore the signals that stop the program, and leave a record of the image that
each was reading, so that the image that crashed one can be named.
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
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from absl import flags

from rdd_jax.core.errors import DataReadError

_MOST_THREADS = 16
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_position_file: int | None = None  # In a worker process: the file that holds the position of the image being read.


class ReadRow(Protocol):
    """Reads one row of a sequence of batches; it is pickled for worker processes.

    positions: i32[batches,b], the positions of the images of all rows.
    """

    positions: np.ndarray

    def __call__(self, number: int, /) -> np.ndarray:
        """Returns row `number`, counted over all batches."""

    def name(self, position: int, /) -> str:
        """Returns the name of the image at a position, for error messages."""


def read_batches(read_row: ReadRow, workers: int) -> Generator[np.ndarray, None, None]:
    """Yields the batches of `read_row`, stacked, in order.

    Args:
        read_row: reads a row.
        workers: the number of worker processes; 0 for threads of this process.

    Raises:
        DataReadError: where a worker process has died.
    """
    return _by_processes(read_row, workers) if workers else _by_threads(read_row)


def report_position(position: int) -> None:
    """Records the position of the image that this worker process reads next; does nothing in the main process."""
    if _position_file is not None:
        os.pwrite(_position_file, struct.pack("q", position), 0)


def _by_threads(read_row: ReadRow) -> Generator[np.ndarray, None, None]:
    import grain  # Takes half a second, which only streaming should cost.

    rows = read_row.positions.shape[1]
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 2 * rows))
    yield from grain.MapDataset.range(read_row.positions.size).map(read_row).to_iter_dataset(options).batch(rows)


def _by_processes(read_row: ReadRow, workers: int) -> Generator[np.ndarray, None, None]:
    import grain

    if not flags.FLAGS.is_parsed():  # Grain 0.2 reads an absl flag, and this program does not parse its flags by absl.
        flags.FLAGS.mark_as_parsed()
    # Each process makes whole batches.
    batches = grain.MapDataset.range(read_row.positions.size).map(read_row).batch(read_row.positions.shape[1])
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
    with tempfile.TemporaryDirectory(prefix="rdd_jax-") as folder:
        iterator = iter(
            batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=workers),
                worker_init_fn=partial(_start_worker, folder, os.getpid()),
            )
        )
        try:
            with _blocked_signals():  # Worker processes inherit the blocked signals until `_start_worker` ignores them.
                batch = next(iterator, None)
            while batch is not None:
                yield np.array(batch)  # A copy: the worker's array is in shared memory, which it uses again.
                batch = next(iterator, None)
        except RuntimeError as error:
            images = " or ".join(read_row.name(position) for position in _positions_of_dead_workers(Path(folder)))
            raise DataReadError(
                f"a process that reads data has died while at {images or 'no image'} ({str(error).split('.')[0]}): "
                "replace that image, or give --config.data.workers=0 or more memory; run the same command "
                "again to resume"
            ) from error
        finally:
            iterator.close()


def _start_worker(folder: str, parent: int, worker: int, workers: int) -> None:
    """Prepares a worker process: opens its position file, ignores stop signals and ends with its parent.

    Ctrl-C reaches all processes of a terminal; only the parent acts on it. The parent may end by kill -9, so that the
    worker has to watch it.
    """
    global _position_file
    _position_file = os.open(Path(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY)
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    threading.Thread(target=_end_with_parent, args=(folder, parent), daemon=True).start()


def _end_with_parent(folder: str, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Delays the signals that stop the program, in this thread and in processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _positions_of_dead_workers(folder: Path) -> list[int]:
    """Returns the positions of the images that crashed worker processes were reading."""
    alive = {str(process.pid) for process in multiprocessing.active_children()}
    contents = [path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in alive]
    return [struct.unpack("q", content)[0] for content in contents if content]
