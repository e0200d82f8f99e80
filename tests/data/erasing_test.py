"""The rectangles of random erasing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.data import erasing

random_erase = functools.partial(jax.jit, static_argnames="probability")(erasing.random_erase)


def test_a_rectangle_of_the_published_size_is_erased():
    images = np.ones((400, 20, 30, 2), np.float32)
    erased = random_erase(images, jax.random.split(jax.random.key(0), 400), probability=0.5)
    assert erased.dtype == jnp.float32
    areas = []
    for image in np.asarray(erased):
        rows, columns, _ = np.nonzero(image == 0)
        if len(rows):
            top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
            assert not image[top:bottom, left:right].any()
            assert image.sum() == image.size - 2 * (bottom - top) * (right - left)
            areas.append((bottom - top) * (right - left) / 600)
            assert 0.3 * 0.7 < (bottom - top) / (right - left) < 3.3 * 1.4  # Sides are rounded.
    assert 150 < len(areas) < 250  # Five standard deviations.
    assert 0.01 < min(areas) < 0.04
    assert 0.27 < max(areas) < 0.36


def test_erasing_depends_on_the_image_s_own_key_alone():
    images, keys = np.ones((8, 6, 6, 1), np.float32), jax.random.split(jax.random.key(1), 8)
    whole = random_erase(images, keys, probability=1.0)
    halves = [random_erase(images[:4], part, probability=1.0) for part in jnp.split(keys, 2)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    np.testing.assert_array_equal(random_erase(images, keys, probability=0.0), images)
