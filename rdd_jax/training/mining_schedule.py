"""The decision when the training set is mined: by time, or by how far the student has drifted since."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.pipeline import DeviceDataset, PipelineDataset
from rdd_jax.rdx import drift
from rdd_jax.steps.embedding import Embed
from rdd_jax.steps.mining import MiningOptions


class MiningSchedule:
    """Decides before which epochs the training set is mined.

    Args:
        options: the section `mining` of the configuration.

    Attributes:
        num_probes: the number of training images by which drift is measured; 0 where drift decides nothing.
    """

    def __init__(self, options: MiningOptions):
        self._options = options
        self.num_probes = options.probe if options.kind == "adaptive" else 0

    def needs_drift(self, epoch: int) -> bool:
        """Returns True where drift decides whether to mine before epoch `epoch` (from 0)."""
        return self._options.kind == "adaptive" and epoch > self._options.start_epoch

    def due(self, epoch: int, drift: Mapping[str, Array] | None = None) -> bool:
        """Returns True where the training set is mined before epoch `epoch` (from 0).

        Args:
            epoch: the epoch. All kinds mine before `start_epoch`. After it "once" never mines, "every" mines every
                `epochs` epochs, and "adaptive" mines when any value of `drift` has reached `threshold`.
            drift: the values of `rdx.drift.measure_drift`, needed where `needs_drift(epoch)`.
        """
        options, since = self._options, epoch - self._options.start_epoch
        if since <= 0:
            return since == 0
        if options.kind == "every":
            return since % options.epochs == 0
        if options.kind == "adaptive":
            if drift is None:
                raise ValueError(f"kind=adaptive needs the drift before epoch {epoch}")
            return bool(max(drift.values()) >= options.threshold)
        return False


class DriftProbe:
    """Measures the student's drift since the last mining on a few training images, spread evenly.

    Args:
        train: the training images.
        num_probes: the number of them to measure on.
        embed_student: embeds images by the student.
        embed_teacher: returns the teacher's embeddings f32[p,dt] of p images.
    """

    def __init__(
        self,
        train: PipelineDataset,
        num_probes: int,
        embed_student: Embed,
        embed_teacher: Callable[[DeviceDataset], Array],
    ):
        self._images = train.take(np.asarray(drift.probe_indices(len(train), num_probes)))
        self._embed_student = embed_student
        self._embed_teacher = embed_teacher
        self._measure = drift.make_drift_measure(num_probes)

    def embed(self, variables: dict[str, Any], on_batch: OnBatch) -> Array:
        """Returns the student's embeddings f32[p,ds] of the probe's images."""
        return self._embed_student(variables, self._images, on_batch)

    def measure(self, before: Array, now: Array) -> dict[str, Array]:
        """Returns the drift between two embeddings f32[p,ds] of the probe's images; see `rdx.drift.measure_drift`."""
        return jax.block_until_ready(self._measure(before, now, self._embed_teacher(self._images)))
