"""Before an epoch: what the teacher says of the views that it will show, from the cache or, once, from the network."""

import functools
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.collectives import all_gather, keys_for_local_rows
from rdd_jax.core.errors import UserError
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.core.types import Array
from rdd_jax.data.augmentation import Views
from rdd_jax.steps.teacher import Lessons
from rdd_jax.steps.teacher_cache import ViewCache
from rdd_jax.steps.train_step import step_keys

# (first step of an epoch, its batches i32[steps,b], on_batch=None) -> (what its steps are taught from, replicated; what
# to log of it)
GiveLessons = Callable[..., tuple[Any, dict[str, float]]]


def make_lessons(
    teacher: nn.Module, variables: dict[str, Any], images: Array, views: Views, cache: ViewCache, seed: int
) -> GiveLessons:
    """The lessons of any epoch of the run with that seed, over the replicated training images uint8[n,h,w,c].

    Views are computed in batches of the run's own size, so that a step's teacher would have said the same to the bit.
    """

    def look(variables, images, indices, drawn):
        outputs = teacher.apply(variables, views.show(images[indices], drawn), train=False)
        return all_gather(jnp.concatenate([outputs.logits, outputs.embedding], axis=1), devices.AXIS)

    look = devices.data_parallel(look, in_axes=(None, None, 0, 0))

    @functools.partial(jax.jit, static_argnames="rows")
    def draw(step, rows):
        return views.draw(keys_for_local_rows(step_keys(seed, step)[0], rows, axis_name=None))

    def compute(positions, drawn, batch_size, on_batch):
        """The teacher's words, f32[n,classes+d], on views i32[n] of the images at positions i32[n]."""
        total, parts = len(positions), []
        for rows in np.resize(np.arange(total), (-(-total // batch_size), batch_size)):
            indices, shown = (devices.split_over_devices(values[rows]) for values in (positions, drawn))
            parts.append(np.asarray(look(variables, images, indices, shown)))
            if on_batch:
                on_batch(min(len(parts) * batch_size, total), total)
        return np.concatenate(parts)[:total]

    def give(first_step, batches, on_batch=None):
        started = time.perf_counter()
        positions, rows = batches.ravel(), batches.shape[1]
        drawn = np.concatenate([draw(np.int32(first_step + step), rows) for step in range(len(batches))])
        values, known = cache.read(positions, drawn)
        if not known.all():
            new = ~known
            cache.write(positions[new], drawn[new], compute(positions[new], drawn[new], rows, on_batch))
            # Read back, so that the first run to meet a view sees it as all others will, rounded as the file rounds it.
            values[new], written = cache.read(positions[new], drawn[new])
            if not written.all():
                raise UserError("what was written to the cache of views does not come back: is its disk all right?")
        table = np.zeros((len(images), values.shape[1]), np.float32)
        table[positions] = values
        logits, embeddings = np.split(table, [teacher.num_classes], axis=1)
        lessons = devices.replicate(Lessons(logits, embeddings))
        return lessons, {"views_computed": int(np.sum(~known)), "views_seconds": time.perf_counter() - started}

    return give


def cache_path(folder: Path, name: str, arrays: Any, **settings: Any) -> Path:
    """The file for a network of that name, by all that its words depend on: arrays and settings (as JSON has them)."""
    depended_on = json.dumps(settings, sort_keys=True) + fingerprint(arrays)
    return folder / f"{name}-{hashlib.sha256(depended_on.encode()).hexdigest()[:16]}.bin"
