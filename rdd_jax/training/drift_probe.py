"""The measurement of the student's drift between minings."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.pipeline import DeviceDataset, PipelineDataset
from rdd_jax.rdx import drift
from rdd_jax.steps.embedding import Embed


class DriftProbe:
    """Measures the student's drift since the last mining on a few training images, spread evenly.

    Args:
        train: the training images.
        num_probes: the number of them to measure on.
        embed_student: embeds images by the student.
        embed_teacher: returns the teacher's embeddings f32[p,dt] of p images; is called once.
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
        self._teacher_embeddings: Array | None = None
        self._measure = drift.make_drift_measure(num_probes)

    def embed(self, variables: dict[str, Any], on_batch: OnBatch) -> Array:
        """Returns the student's embeddings f32[p,ds] of the probe's images."""
        return self._embed_student(variables, self._images, on_batch)

    def measure(self, before: Array, now: Array) -> dict[str, Array]:
        """Returns the drift between two embeddings f32[p,ds] of the probe's images; see `rdx.drift.measure_drift`."""
        if self._teacher_embeddings is None:
            self._teacher_embeddings = self._embed_teacher(self._images)
        return jax.block_until_ready(self._measure(before, now, self._teacher_embeddings))
