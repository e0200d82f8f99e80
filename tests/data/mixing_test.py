"""Mixup and CutMix of pairs of neighbouring rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax.core.types import Batch
from rdd_jax.data.mixing import Mixing

ROWS, CLASSES = 64, 4
# Row i is constant and 2**(i % 2) in all pixels, so that a pixel shows the shares of the two images of a pair.
BATCH = Batch(
    jnp.broadcast_to(2.0 ** (jnp.arange(ROWS) % 2)[:, None, None, None], (ROWS, 8, 8, 1)),
    jnp.arange(ROWS) % CLASSES,
    jnp.arange(ROWS),
)
KEYS = jax.random.split(jax.random.key(0), ROWS)
NEIGHBOURS = np.arange(ROWS) ^ 1


@functools.cache
def mixed(mixup, cutmix):
    return jax.jit(Mixing(mixup, cutmix, CLASSES))(BATCH, KEYS)


def own_shares(mixed_batch):
    """f32[b,h,w], the share of a row's own image in each pixel."""
    own, other = BATCH.inputs, BATCH.inputs[NEIGHBOURS]
    return np.asarray((mixed_batch.inputs - other) / (own - other))[..., 0]


@pytest.mark.parametrize("alphas", [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_the_soft_label_has_the_shares_of_the_pixels(alphas):
    batch = mixed(*alphas)
    shares = own_shares(batch).mean((1, 2))
    assert (shares > 0.5 - 1e-6).all()
    assert shares.std() > 0.05
    labels = np.asarray(BATCH.labels)
    expected = shares[:, None] * np.eye(CLASSES)[labels] + (1 - shares)[:, None] * np.eye(CLASSES)[labels[NEIGHBOURS]]
    assert batch.soft_labels.dtype == jnp.float32
    np.testing.assert_allclose(batch.soft_labels, expected, atol=1e-5)
    np.testing.assert_array_equal(batch.labels, BATCH.labels)
    np.testing.assert_array_equal(batch.indices, BATCH.indices)


def test_mixup_averages_and_cutmix_cuts_rectangles():
    averaged, cut = own_shares(mixed(1.0, 0.0)), own_shares(mixed(0.0, 1.0))
    assert np.ptp(averaged, axis=(1, 2)).max() < 1e-5
    # Uniform in [0.5, 1]: the larger part of a uniform number and the rest.
    np.testing.assert_allclose([averaged.mean(), averaged.std()], [0.75, 0.144], atol=0.05)
    np.testing.assert_allclose(cut * (1 - cut), 0, atol=1e-6)
    for outside in cut:
        rows, columns = np.nonzero(outside < 0.5)
        assert len(rows) == len(set(rows)) * len(set(columns))
    is_cut = (np.ptp(own_shares(mixed(0.4, 1.0)), axis=(1, 2)) > 0.5).sum()
    assert 12 < is_cut < 52  # Half of the rows, less those whose rectangle is empty.


def test_mixing_depends_on_the_pair_and_its_own_keys_alone():
    whole, half = mixed(0.4, 1.0), ROWS // 2
    part = jax.jit(Mixing(0.4, 1.0, CLASSES))(jax.tree.map(lambda leaf: leaf[half:], BATCH), KEYS[half:])
    jax.tree.map(lambda rows, other: np.testing.assert_allclose(rows, other[half:], atol=1e-6), part, whole)


def test_an_odd_batch_is_refused():
    batch = jax.tree.map(lambda leaf: leaf[:3], BATCH)
    with pytest.raises(ValueError, match=r"even number of rows; got images \(3, 8, 8, 1\)"):
        Mixing(1.0, 0.0, CLASSES)(batch, KEYS[:3])
