"""RandAugment's operations against Pillow, and which of them an image gets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from rdd_jax.data.rand_augment import MAX_MAGNITUDE, OPERATIONS, rand_augment


def enhanced(kind):
    return lambda image, level: kind(image).enhance(1 + level)


def transformed(matrix):
    return lambda image, level: image.transform(image.size, Image.Transform.AFFINE, matrix(image, level))


# (image, level) -> image: what torchvision calls for images of Pillow.
PILLOW = {
    "identity": lambda image, level: image,
    "shear_x": transformed(lambda image, level: (1, level, 0, 0, 1, 0)),
    "shear_y": transformed(lambda image, level: (1, 0, 0, level, 1, 0)),
    "translate_x": transformed(lambda image, level: (1, 0, int(level * image.width), 0, 1, 0)),
    "translate_y": transformed(lambda image, level: (1, 0, 0, 0, 1, int(level * image.height))),
    "rotate": lambda image, level: image.rotate(level),
    "brightness": enhanced(ImageEnhance.Brightness),
    "color": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, level: ImageOps.posterize(image, 8 - round(level)),
    "solarize": lambda image, level: ImageOps.solarize(image, 255 - level),
    "autocontrast": lambda image, level: ImageOps.autocontrast(image),
    "equalize": lambda image, level: ImageOps.equalize(image),
}


def smooth_image(shape):
    """An image with few and neighbouring values, whose histogram can be stretched."""
    coarse = np.random.default_rng(0).integers(30, 200, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[1::-1]))[..., : shape[2]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_that_of_pillow(name, channels):
    shape, operation = (20, 30, channels), OPERATIONS[name]
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    signs = (1, -1) if operation.has_sign else (1,)
    levels = [sign * operation.strongest * magnitude / MAX_MAGNITUDE for magnitude in (0, 9, 30) for sign in signs]
    apply = jax.jit(jax.vmap(operation.apply, in_axes=(None, 0)))
    for image in (noise, smooth_image(shape)):
        theirs = Image.fromarray(image[..., 0] if channels == 1 else image)
        ours = np.asarray(apply(image, np.float32(levels)))
        assert ours.dtype == np.uint8
        for level, actual in zip(levels, ours, strict=True):
            expected = np.asarray(PILLOW[name](theirs, level)).reshape(shape)
            # Pillow stretches the histogram in floating point, here in integers; blends may be fused differently.
            assert np.abs(np.int32(expected) - actual).max() <= 1
            assert (expected != actual).mean() < 0.01


@functools.cache
def compiled():
    return jax.jit(functools.partial(rand_augment, operations=2, magnitude=9))


def test_operations_are_functions_of_the_image_s_own_key():
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    keys = jax.random.split(jax.random.key(0), 24)
    augmented = compiled()(images, keys)
    assert augmented.dtype == jnp.uint8
    order = np.random.default_rng(1).permutation(24)
    np.testing.assert_array_equal(compiled()(images[order], keys[order]), augmented[order])
    same = compiled()(np.broadcast_to(images[:1], images.shape), keys)
    assert len({image.tobytes() for image in np.asarray(same)}) > 15


def test_all_operations_are_drawn_with_both_signs(monkeypatch):
    """Each pixel of the result is the number of its operation; 100 more where the level is negative."""
    for number, name in enumerate(OPERATIONS):
        numbered = OPERATIONS[name]._replace(
            apply=lambda image, level, number=number: jnp.full_like(image, number) + jnp.uint8(100) * (level < 0)
        )
        monkeypatch.setitem(OPERATIONS, name, numbered)
    images, keys = jnp.zeros((1400, 1, 1, 1), jnp.uint8), jax.random.split(jax.random.key(0), 1400)
    numbers = np.asarray(rand_augment(images, keys, operations=1, magnitude=30)).ravel()
    signed = [number for number, operation in enumerate(OPERATIONS.values()) if operation.has_sign]
    assert set(numbers) == {*range(14), *(number + 100 for number in signed)}
    assert min(np.bincount(numbers % 100)) > 60  # Four standard deviations below the mean of 100.
    assert 0.4 < (numbers >= 100).sum() / np.isin(numbers % 100, signed).sum() < 0.6


def test_impossible_arguments_are_refused():
    images, keys = jnp.zeros((2, 4, 4, 3), jnp.uint8), jax.random.split(jax.random.key(0), 2)
    with pytest.raises(ValueError, match=r"magnitude must be in \[0, 30\], not 31"):
        rand_augment(images, keys, operations=1, magnitude=31)
    with pytest.raises(ValueError, match=r"not float32\(2, 4, 4, 3\)"):
        rand_augment(images / 255, keys, operations=1, magnitude=9)
