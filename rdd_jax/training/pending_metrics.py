"""The metrics of calls that were sent off to the devices, read some calls later."""

import collections
from typing import NamedTuple

import jax

from rdd_jax.core.progress import Progress

LAG = 4


class _Call(NamedTuple):
    """A call that was sent off: the epoch such as "3/30", the number of its images and its running metrics f32[]."""

    epoch: str
    num_images: int
    metrics: dict[str, jax.Array]


class PendingMetrics:
    """Keeps the metrics of calls to the devices, and reads those of a call when `lag` more calls were sent off.

    To read a metric waits for its call. With a lag the devices always have work queued, and the host runs ahead of them
    by no more than `lag` calls.

    Args:
        progress: shows the metrics that were read.
        lag: the number of calls.

    Attributes:
        loss: the loss that was read last; 0 before.
    """

    def __init__(self, progress: Progress, lag: int = LAG):
        self._progress = progress
        self._lag = lag
        self._calls: collections.deque[_Call] = collections.deque()
        self.loss = 0.0

    def add(self, epoch: str, num_images: int, metrics: dict[str, jax.Array]) -> None:
        """Adds a call that was sent off, and reads the metrics of the call `lag` calls before.

        Args:
            epoch: such as "3/30".
            num_images: the number of the call's images.
            metrics: {"loss": f32[], "accuracy": f32[] in percent}, averages over the epoch so far.
        """
        self._calls.append(_Call(epoch, num_images, metrics))
        if len(self._calls) > self._lag:
            self._read_next()

    def flush(self) -> None:
        """Waits for all calls and reads their metrics."""
        while self._calls:
            self._read_next()

    def discard(self) -> None:
        """Drops the metrics that are not read yet, and counts the images of their calls as done."""
        self._progress.advance(sum(call.num_images for call in self._calls))
        self._calls.clear()
        self.loss = 0.0

    def _read_next(self) -> None:
        epoch, num_images, metrics = self._calls.popleft()
        self.loss = float(metrics["loss"])
        self._progress.show_metrics(epoch, loss=self.loss, accuracy=float(metrics["accuracy"]))
        self._progress.advance(num_images)
