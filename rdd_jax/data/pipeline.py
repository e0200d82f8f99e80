"""How the devices come by images: they have all of them, or are sent those of each batch."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.streaming import Stream

EVALUATION_BATCH = 500


class Resident:
    """Images uint8[n,h,w,c] that live whole on every device; its functions look up what they need."""

    in_axis = None  # Of the images, where a function is mapped over the devices.

    def __init__(self, images: Array):
        self._images = images

    @staticmethod
    def of_step(images: Array, step: Array) -> Array:
        """Inside a call of several steps: what one of them is given."""
        return images

    @staticmethod
    def rows(images: Array, indices: Array) -> Array:
        """Inside a step: the images uint8[b,h,w,c] at positions i32[b]."""
        return images[indices]

    def evaluated(self, places: np.ndarray) -> Iterator[Any]:
        """What a function is given for each batch of positions i32[batches,local devices,b], to evaluate a network."""
        for _ in places:
            yield self._images

    def trained(self, first_step: int, calls: Sequence[np.ndarray], steps_per_call: int) -> Iterator[Any]:
        """What each call is given: the batches of positions i32[<=steps_per_call,rows] from update `first_step` on."""
        for _ in calls:
            yield self._images


class Streamed:
    """Images that come from the host with each batch: every device gets its own rows, uint8[b,h,w,c]."""

    in_axis = 0

    def __init__(self, stream: Stream):
        self._stream = stream

    @staticmethod
    def of_step(images: Array, step: Array) -> Array:
        """As of `Resident`; images is uint8[steps,b,h,w,c]."""
        return images[step]

    @staticmethod
    def rows(images: Array, indices: Array) -> Array:
        """As of `Resident`."""
        return images

    def evaluated(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """As of `Resident`: uint8[local devices,b,h,w,c]."""
        batches, devices, rows = places.shape
        for images in self._stream.evaluated(places.reshape(batches, -1)):
            yield images.reshape(devices, rows, *images.shape[1:])

    def trained(self, first_step: int, calls: Sequence[np.ndarray], steps_per_call: int) -> Iterator[np.ndarray]:
        """As of `Resident`: uint8[local devices,steps_per_call,b,h,w,c], black behind the last step of a call."""
        batches = np.concatenate(calls)
        own = devices.split_over_devices(batches)
        local_devices, steps, rows = own.shape
        places = devices.split_over_devices(np.arange(batches.shape[1])).ravel()
        stream = self._stream.trained(own.transpose(1, 0, 2).reshape(steps, -1), first_step, places)
        for call in calls:
            images = np.zeros((local_devices, steps_per_call, rows, *self._stream.shape[1:]), np.uint8)
            for step in range(len(call)):
                images[:, step] = next(stream).reshape(local_devices, rows, *self._stream.shape[1:])
            yield images


Feed = Resident | Streamed


def is_streamed(images: Any) -> bool:
    """Whether images, of whatever kind a feed is made of, are read as they are needed."""
    return isinstance(images, Stream)


def of(images: Array | Stream) -> Feed:
    """The feed of images uint8[n,h,w,c]: replicated arrays, or a stream."""
    return Streamed(images) if is_streamed(images) else Resident(images)


def place(images: np.ndarray | Stream) -> Array | Stream:
    """Images as a feed wants them: arrays replicated, streams as they are."""
    return images if is_streamed(images) else devices.replicate(images)


def evaluation_batches(images: Array | Stream, on_batch: OnBatch | None = None) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields all images in order: positions i32[local devices,b], padded with -1, and what the feed gives for them.

    `on_batch` is called when the next batch is asked for, and so once the work on the batch before has been sent off.
    """
    batches = devices.padded_index_batches(len(images), EVALUATION_BATCH)
    for number, pair in enumerate(zip(batches, of(images).evaluated(batches), strict=True), start=1):
        yield pair
        if on_batch:
            on_batch(round(number / len(batches) * len(images)), len(images))


class Clocked(Iterator[Any]):
    """The same iterator, which counts the seconds that it was waited for."""

    def __init__(self, iterator: Iterator[Any]):
        self._iterator = iterator
        self.seconds = 0.0

    def __next__(self) -> Any:
        started = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - started
