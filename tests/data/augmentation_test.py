"""Random crops, flips and normalisation on the device, against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax.data import augmentation
from rdd_jax.data.options import AugmentOptions


@functools.partial(jax.jit, static_argnames=("pad", "flip", "erase"))
def random_augmentations(images, keys, *, pad, flip, erase=0.0):
    options = AugmentOptions(pad, flip, erase=erase)
    return augmentation.Augmentation(options, normalize=lambda pixels: pixels)(images, keys)


def random_images(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 256, shape, np.uint8)  # No zeros: those are the padding.


def all_augmentations(image, pad, flip):
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    offsets = range(2 * pad + 1)
    crops = [padded[top : top + height, left : left + width] for top in offsets for left in offsets]
    return crops + [crop[:, ::-1] for crop in crops] if flip else crops


@pytest.mark.parametrize("shape", [(8, 8, 1), (6, 9, 3)])
@pytest.mark.parametrize(("pad", "flip", "count"), [(4, True, 162), (4, False, 81), (0, True, 2), (2, True, 50)])
def test_augmentations_are_drawn_from_all_and_no_others(shape, pad, flip, count):
    image = random_images(shape)
    draws = 100 * count
    keys = jax.random.split(jax.random.key(0), draws)
    drawn = random_augmentations(jnp.broadcast_to(image, (draws, *shape)), keys, pad=pad, flip=flip)
    assert drawn.dtype == jnp.uint8
    drawn_bytes = [pixels.tobytes() for pixels in np.asarray(drawn)]
    counts = [drawn_bytes.count(pixels.tobytes()) for pixels in all_augmentations(image, pad, flip)]
    assert len(counts) == count
    assert sum(counts) == draws
    assert min(counts) > 50  # Five standard deviations below the mean of 100.
    assert max(counts) < 150


def test_augmentations_are_numbered_without_a_gap_or_a_duplicate():
    image = random_images((8, 8, 1))
    count = augmentation.num_augmentations(1, flip=True)
    cut = augmentation.crop_and_flip(np.broadcast_to(image, (count, 8, 8, 1)), np.arange(count), pad=1, flip=True)
    assert sorted(map(bytes, np.asarray(cut))) == sorted(
        map(bytes, map(np.ascontiguousarray, all_augmentations(image, 1, True)))
    )


def test_each_image_gets_an_augmentation_of_its_own():
    images = random_images((32, 8, 8, 3))
    drawn = random_augmentations(images, jax.random.split(jax.random.key(1), 32), pad=4, flip=True)
    for pixels, image in zip(np.asarray(drawn), images, strict=True):
        assert any((pixels == candidate).all() for candidate in all_augmentations(image, 4, True))


def test_no_padding_and_no_flip_is_the_identity():
    images = random_images((5, 8, 8, 3))
    same = random_augmentations(images, jax.random.split(jax.random.key(0), 5), pad=0, flip=False)
    np.testing.assert_array_equal(same, images)


def test_an_augmentation_depends_on_the_image_s_own_key_alone():
    images, keys = random_images((12, 8, 8, 3)), jax.random.split(jax.random.key(2), 12)
    whole = random_augmentations(images, keys, pad=4, flip=True)
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(random_augmentations(images[order], keys[order], pad=4, flip=True), whole[order])
    for parts in (2, 4):
        shares = zip(np.split(images, parts), jnp.split(keys, parts), strict=True)
        parts_of_it = [random_augmentations(*share, pad=4, flip=True) for share in shares]
        np.testing.assert_array_equal(np.concatenate(parts_of_it), whole)


def test_erasing_leaves_the_draws_of_crops_and_flips_alone():
    images, keys = 1 + random_images((12, 8, 8, 3)) // 2, jax.random.split(jax.random.key(2), 12)
    erased, cropped = (random_augmentations(images, keys, pad=0, flip=True, erase=erase) for erase in (0.5, 0.0))
    kept = np.asarray(erased) != 0
    np.testing.assert_array_equal(np.asarray(erased)[kept], np.asarray(cropped)[kept])
    assert 2 <= sum(not image.all() for image in kept) <= 10


def test_augmentation_refuses_impossible_arguments():
    images = random_images((4, 8, 8, 1))
    keys = jax.random.split(jax.random.key(0), 4)
    for call in (
        lambda: augmentation.sample_augmentations(keys, pad=-1, flip=True),
        lambda: random_augmentations(images, keys, pad=-1, flip=True),
    ):
        with pytest.raises(ValueError, match="pad must not be negative"):
            call()
    with pytest.raises(ValueError, match="typed keys are needed"):
        augmentation.sample_augmentations(jax.random.key_data(keys), pad=4, flip=True)
    with pytest.raises(ValueError, match="one augmentation per image"):
        augmentation.crop_and_flip(images, np.zeros(3, np.int32), pad=4, flip=True)


def test_an_augmented_image_has_the_same_bits_in_every_program():
    """Other computations in a program must not change its rounding, because the teacher's outputs for it are cached."""
    images = random_images((50, 8, 8, 3))
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    middle, scale = np.float32(255 * np.array(mean)), np.float32(1 / (255 * np.array(std)))
    expected = (images.astype(np.float32) - middle) * scale
    normalize = functools.partial(augmentation.normalize, mean=mean, std=std)
    np.testing.assert_array_equal(jax.jit(normalize)(images), expected)
    beside = jax.jit(lambda images: (3.0 * normalize(images) + 0.1, normalize(images), normalize(images).sum(axis=0)))
    np.testing.assert_array_equal(beside(images)[1], expected)


def test_normalize_matches_numpy():
    images = random_images((3, 8, 8, 3))
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    expected = (images / 255 - np.array(mean)) / np.array(std)
    normalized = jax.jit(lambda images: augmentation.normalize(images, mean, std))(images)
    assert normalized.dtype == jnp.float32
    np.testing.assert_allclose(normalized, expected, rtol=1e-5, atol=1e-6)
    half = augmentation.normalize(images, mean, std, dtype=jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half, augmentation.normalize(images, mean, std).astype(jnp.bfloat16))
