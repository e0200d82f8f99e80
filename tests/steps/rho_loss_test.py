"""The candidates that a step trains on. The student's "logits" are the first pixels of an image."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax.core import devices
from rdd_jax.core.types import ModelOutput
from rdd_jax.data.pipeline import IndexedBatches
from rdd_jax.steps import rho_loss


@pytest.fixture
def candidates():
    random = np.random.default_rng(1)
    images = random.normal(size=(40, 2, 2, 1)).astype(np.float32)
    labels = random.integers(0, 4, 40).astype(np.int32)
    scores = random.normal(size=40).astype(np.float32)
    return images, labels, scores, random.permutation(40)[:24].astype(np.int32)


def select(images, labels, scores, rows, *, keep, axis_name=None):
    """Returns the chosen examples, and their rows among all candidates."""

    def apply(variables, pixels, train):
        return ModelOutput(pixels.reshape(len(pixels), 4), pixels), {}

    choose = rho_loss.reducible_loss(SimpleNamespace(apply=apply), lambda images, keys: images, keep=keep)
    candidates = IndexedBatches(images, labels, rows[None]).batch(0)
    return choose(SimpleNamespace(student={}, scores=scores), candidates, jax.random.key(0), axis_name)


def test_the_largest_reducible_losses_are_kept(candidates):
    images, labels, scores, rows = candidates
    chosen, places = jax.jit(functools.partial(select, keep=8))(*candidates)
    kept = np.asarray(chosen.indices)
    losses = -jax.nn.log_softmax(images.reshape(40, 4))[np.arange(40), labels] - scores
    assert set(kept) == set(rows[np.argsort(-losses[rows])[:8]])
    np.testing.assert_array_equal(rows[np.asarray(places)], kept)
    np.testing.assert_array_equal(chosen.inputs, images[kept])
    np.testing.assert_array_equal(chosen.labels, labels[kept])


def test_the_choice_is_made_among_the_candidates_of_all_devices(candidates, num_devices):
    images, labels, scores, rows = candidates
    alone = jax.jit(functools.partial(select, keep=8))(*candidates)

    def own(*arguments):
        chosen = select(*arguments, keep=8 // num_devices, axis_name=devices.AXIS)
        return jax.lax.all_gather(chosen, devices.AXIS, tiled=True)

    together = devices.data_parallel(own, in_axes=(None, None, None, 0))(
        images, labels, scores, devices.split_over_devices(rows)
    )
    jax.tree.map(np.testing.assert_array_equal, together, alone)
    assert jnp.unique(together[0].indices).size == 8
