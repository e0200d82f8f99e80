"""The input pipeline: hands the compiled functions the batches of one split, from device memory or from the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.types import Array, Batch, OnBatch
from rdd_jax.data.streaming import Stream

EVALUATION_BATCH = 500
_STREAMED_BYTES = 2**26  # The most bytes of streamed images that one call is sent.


class Batches(Protocol):
    """The batches of one call of a compiled function: a pytree that is passed to it."""

    def batch(self, step: Array | int) -> Batch:
        """Returns this device's rows of batch number `step`; for use inside the compiled function.

        Returns:
            inputs uint8[b,h,w,c], not augmented; labels i32[b]; indices i32[b].
        """


class IndexedBatches(NamedTuple):
    """Batches of a `DeviceDataset`, whose rows are gathered inside the compiled function.

    images: uint8[n,h,w,c], of the whole split.
    labels: i32[n], of the whole split.
    indices: i32[steps,b], positions in the split. For all local devices: i32[local devices,steps,b].
    """

    images: Array
    labels: Array
    indices: Array | np.ndarray

    def batch(self, step: Array | int) -> Batch:
        """See `Batches`."""
        indices = self.indices[step]
        return Batch(self.images[indices], self.labels[indices], indices)


class HostBatches(NamedTuple):
    """Batches of a `StreamedDataset`, which the host has read.

    stacked: inputs uint8[steps,b,h,w,c], labels i32[steps,b], indices i32[steps,b]. For all local devices each has a
        further leading axis.
    """

    stacked: Batch

    def batch(self, step: Array | int) -> Batch:
        """See `Batches`."""
        return jax.tree.map(lambda rows: rows[step], self.stacked)


class PipelineDataset(Protocol):
    """The images and labels of one split, as training, evaluation and mining read them."""

    def __len__(self) -> int:
        """Returns the number of images."""
        ...

    @property
    def labels(self) -> Array | np.ndarray:
        """The labels i32[n]."""
        ...

    @property
    def is_streamed(self) -> bool:
        """True where images are read when they are needed."""
        ...

    @property
    def in_axes(self) -> Any:
        """The axes of its `Batches` for `devices.data_parallel`, a hashable pytree."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    def take(self, positions: np.ndarray | Array) -> "DeviceDataset":
        """Puts the images at positions i[m], as they are evaluated, on the devices."""

    def limit_steps(self, steps: int, batch_size: int) -> int:
        """Reduces a number of steps per call to one whose images fit into one transfer to the devices."""

    def train_batches(self, calls: Sequence[np.ndarray], first_step: int, steps_per_call: int) -> Iterator[Batches]:
        """Yields the batches of each call.

        Args:
            calls: positions i32[steps,rows] of the global batches of each call, at most `steps_per_call` of them.
            first_step: the update that takes the first batch.
            steps_per_call: to so many steps the batches of a call are padded.
        """

    def evaluation_batches(self, on_batch: OnBatch | None = None) -> Iterator[Batches]:
        """Yields the whole split in order, one batch at a time; indices are -1 after the last image.

        `on_batch` is called when the next batch is asked for: the work on the batch before has then been started.
        """


@dataclass(frozen=True)
class DeviceDataset:
    """A split that is kept whole on every device: images uint8[n,h,w,c] and labels i32[n], both replicated."""

    images: Array
    labels: Array
    is_streamed = False
    in_axes = IndexedBatches._make((None, None, 0))  # Images and labels are replicated, indices are split.

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """See `PipelineDataset`."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def take(self, positions: np.ndarray | Array) -> "DeviceDataset":
        """See `PipelineDataset`."""
        return _put(self.images[positions], self.labels[positions])

    def limit_steps(self, steps: int, batch_size: int) -> int:
        """See `PipelineDataset`: no images are sent."""
        return steps

    def train_batches(self, calls: Sequence[np.ndarray], first_step: int, steps_per_call: int) -> Iterator[Batches]:
        """See `PipelineDataset`."""
        for indices in calls:
            yield IndexedBatches(self.images, self.labels, devices.split_over_devices(_padded(indices, steps_per_call)))

    def evaluation_batches(self, on_batch: OnBatch | None = None) -> Iterator[Batches]:
        """See `PipelineDataset`."""
        batches = devices.padded_index_batches(len(self), EVALUATION_BATCH)
        for number, indices in enumerate(batches, start=1):
            yield IndexedBatches(self.images, self.labels, indices[:, None])
            _report(on_batch, number, len(batches), len(self))


class StreamedDataset:
    """A split whose images the host reads ahead of the devices, and sends with each batch.

    Args:
        stream: reads the images.
        labels: i32[n].
    """

    is_streamed = True
    in_axes = HostBatches._make((0,))

    def __init__(self, stream: Stream, labels: np.ndarray):
        self.labels = labels
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """See `PipelineDataset`."""
        _, height, width, channels = self._stream.shape
        return height, width, channels

    def take(self, positions: np.ndarray | Array) -> DeviceDataset:
        """See `PipelineDataset`."""
        return _put(self._stream[positions], self.labels[positions])

    def limit_steps(self, steps: int, batch_size: int) -> int:
        """See `PipelineDataset`."""
        return max(1, min(steps, _STREAMED_BYTES // (batch_size * int(np.prod(self.image_shape)))))

    def train_batches(self, calls: Sequence[np.ndarray], first_step: int, steps_per_call: int) -> Iterator[Batches]:
        """See `PipelineDataset`. Images are black after the last step of a call."""
        every = np.concatenate(calls)
        own = devices.split_over_devices(every)
        local_devices, steps, rows = own.shape
        global_rows = devices.split_over_devices(np.arange(every.shape[1])).ravel()
        images = self._stream.train_batches(own.transpose(1, 0, 2).reshape(steps, -1), first_step, global_rows)
        for indices in calls:
            inputs = np.zeros((local_devices, steps_per_call, rows, *self.image_shape), np.uint8)
            for step in range(len(indices)):
                inputs[:, step] = next(images).reshape(local_devices, rows, *self.image_shape)
            yield self._batches(inputs, devices.split_over_devices(_padded(indices, steps_per_call)))

    def evaluation_batches(self, on_batch: OnBatch | None = None) -> Iterator[Batches]:
        """See `PipelineDataset`. Images are black after the last one."""
        batches = devices.padded_index_batches(len(self), EVALUATION_BATCH)
        images = self._stream.evaluation_batches(batches.reshape(len(batches), -1))
        for number, (indices, read) in enumerate(zip(batches, images, strict=True), start=1):
            inputs = read.reshape(*indices.shape, *self.image_shape)
            yield self._batches(inputs[:, None], indices[:, None])
            _report(on_batch, number, len(batches), len(self))

    def _batches(self, inputs: np.ndarray, indices: np.ndarray) -> HostBatches:
        """Joins images with labels and positions, each [local devices,steps,b,...]."""
        return HostBatches(Batch._make((inputs, self.labels[indices], indices, None, None)))


def put(
    images: np.ndarray | Array | Stream, labels: np.ndarray | Array | None = None
) -> DeviceDataset | StreamedDataset:
    """Puts a split on the devices, unless its images are streamed.

    Args:
        images: uint8[n,h,w,c].
        labels: i32[n]; None for images that are only embedded.
    """
    labels = np.zeros(len(images), np.int32) if labels is None else labels
    if isinstance(images, Stream):
        return StreamedDataset(images, np.asarray(labels))
    return _put(images, labels)


def _put(images: np.ndarray | Array, labels: np.ndarray | Array) -> DeviceDataset:
    """Puts a split on the devices."""
    return DeviceDataset(*devices.replicate((images, labels)))


def _padded(indices: np.ndarray, steps: int) -> np.ndarray:
    """Pads batches of positions i32[<=steps,rows] with zeros to i32[steps,rows]."""
    padded = np.zeros((steps, indices.shape[1]), np.int32)
    padded[: len(indices)] = indices
    return padded


def _report(on_batch: OnBatch | None, number: int, batches: int, total: int) -> None:
    """Calls `on_batch` after batch `number` (from 1) of `batches`, of `total` images together."""
    if on_batch:
        on_batch(round(number / batches * total), total)
