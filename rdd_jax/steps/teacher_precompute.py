"""Precomputes the teacher's outputs for an epoch's augmented images, with the on-disk cache."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.collectives import all_gather, keys_for_local_rows
from rdd_jax.core.errors import UserError
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.augmentation import Augmentation
from rdd_jax.data.pipeline import DeviceDataset
from rdd_jax.models import Network
from rdd_jax.steps import train_state
from rdd_jax.steps.teacher import TeacherOutputs
from rdd_jax.steps.teacher_cache import TeacherOutputCache
from rdd_jax.steps.train_step import step_keys


class TeacherPrecompute:
    """Finds the teacher's outputs for the images of an epoch before it begins; a `PrepareTeacher`.

    Outputs are computed in batches of the run's own size, so that they are equal to the bit to those of a forward pass
    in the training step.

    Args:
        network: the teacher's.
        variables: its variables, replicated.
        train: the training images.
        augmentation: the augmentation of the training images.
        cache: keeps the outputs on disk.
        seed: of the run, by which its augmentations are drawn.
    """

    def __init__(
        self,
        network: Network,
        variables: dict[str, Any],
        train: DeviceDataset,
        augmentation: Augmentation,
        cache: TeacherOutputCache,
        seed: int,
    ):
        self._num_classes = train_state.output_shapes(network, train.image_shape).logits.shape[-1]
        self._variables, self._train, self._cache, self._seed = variables, train, cache, seed
        self._sample = jax.jit(functools.partial(_sample, augmentation), static_argnames="rows")
        self._forward = devices.data_parallel(
            functools.partial(_forward, network, augmentation), in_axes=(None, None, 0, 0)
        )

    def __call__(
        self, first_step: int, batches: np.ndarray, on_batch: OnBatch | None = None, /
    ) -> tuple[TeacherOutputs, dict[str, float]]:
        """See `PrepareTeacher`.

        Raises:
            UserError: where the cache cannot be read or written.
        """
        started = time.perf_counter()
        positions, rows = batches.ravel(), batches.shape[1]
        sampled = [self._sample(self._seed, np.int32(first_step + step), rows=rows) for step in range(len(batches))]
        augmentations = np.concatenate(sampled)
        values, known = self._cache.read(positions, augmentations)
        if not known.all():
            values[~known] = self._fill_cache(positions[~known], augmentations[~known], rows, on_batch)
        table = np.zeros((len(self._train), values.shape[1]), np.float32)
        table[positions] = values
        logits, embeddings = devices.replicate(np.split(table, [self._num_classes], axis=1))
        log_values = {"teacher_outputs_computed": int(np.sum(~known)), "teacher_seconds": time.perf_counter() - started}
        return TeacherOutputs(logits, embeddings), log_values

    def _fill_cache(
        self, positions: np.ndarray, augmentations: np.ndarray, batch_size: int, on_batch: OnBatch | None
    ) -> np.ndarray:
        """Computes outputs, writes them to the cache and returns them, f32[n,classes+d].

        They are read back, so that the first run uses the numbers that later runs read, rounded to the cache's dtype.
        """
        computed = self._compute(positions, augmentations, batch_size, on_batch)
        self._cache.write(positions, augmentations, computed)
        values, known = self._cache.read(positions, augmentations)
        if not known.all():
            raise UserError("the teacher's outputs cannot be read back from their cache: check the disk")
        return values

    def _compute(
        self, positions: np.ndarray, augmentations: np.ndarray, batch_size: int, on_batch: OnBatch | None
    ) -> np.ndarray:
        """Runs the teacher on augmentations i32[n] of the images at positions i32[n]; returns f32[n,classes+d]."""
        total, parts = len(positions), []
        for rows in np.resize(np.arange(total), (-(-total // batch_size), batch_size)):
            split = (devices.split_over_devices(values[rows]) for values in (positions, augmentations))
            parts.append(np.asarray(self._forward(self._variables, self._train.images, *split)))
            if on_batch:
                on_batch(min(len(parts) * batch_size, total), total)
        return np.concatenate(parts)[:total]


def _sample(augmentation: Augmentation, seed: int, step: Array, rows: int) -> Array:
    """Draws the augmentations i32[rows] of the images of update `step`, as the training step does."""
    return augmentation.sample(keys_for_local_rows(step_keys(seed, step).augmentation, rows, axis_name=None))


def _forward(
    network: Network,
    augmentation: Augmentation,
    variables: dict[str, Any],
    images: Array,
    indices: Array,
    augmentations: Array,
) -> Array:
    """Computes logits and embeddings of this device's rows i32[b]; returns those of all devices, f32[n,classes+d]."""
    output, _ = network.apply(variables, augmentation.apply(images[indices], augmentations), train=False)
    return all_gather(jnp.concatenate([output.logits, output.embedding], axis=1), devices.AXIS)
