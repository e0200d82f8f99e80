"""Images of any size come to the networks' size by an explicit rule, and those of that size are taken as they are."""

import json

import numpy as np
import pytest
from PIL import Image

from rdd_jax.core.errors import DataReadError
from rdd_jax.data import loading
from rdd_jax.data.folders import FileSource
from rdd_jax.data.options import DataOptions
from rdd_jax.data.resize import ResizeRule, usual_crop_share
from rdd_jax.data.streaming import Stream


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("crop_share", [1.0, 0.875])
def test_an_image_of_the_target_size_is_unchanged(crop_share):
    image = noise(32, 32, 3)
    np.testing.assert_array_equal(ResizeRule(32, 32, crop_share).apply(Image.fromarray(image)), image)


def test_the_usual_rule_of_imagenet_is_the_centre_224_of_256_pixels():
    image = noise(256, 300, 3)
    rule = ResizeRule(224, 224, usual_crop_share(224, 224))
    np.testing.assert_array_equal(rule.apply(Image.fromarray(image)), image[16:240, 38:262])


def test_small_images_keep_their_whole_shorter_side():
    image = noise(64, 96, 3)
    plain = Image.fromarray(image).resize((48, 32), Image.Resampling.BILINEAR)
    rule = ResizeRule(32, 32, usual_crop_share(32, 32))
    np.testing.assert_array_equal(rule.apply(Image.fromarray(image)), np.asarray(plain)[:, 8:40])


def test_gray_images_have_one_channel_and_other_modes_are_refused():
    assert ResizeRule(4, 4).apply(Image.fromarray(noise(8, 8))).shape == (4, 4, 1)
    with pytest.raises(ValueError, match='not "RGBA"'):
        ResizeRule(4, 4).apply(Image.fromarray(noise(8, 8, 4)))


def test_a_rule_survives_json():
    rule = ResizeRule(32, 48, 0.9)
    assert ResizeRule(**json.loads(json.dumps(rule._asdict()))) == rule


def pictures(folder, shapes):
    for split in ("train", "test"):
        for class_name in "ab":
            (folder / split / class_name).mkdir(parents=True)
            for number, shape in enumerate(shapes):
                Image.fromarray(noise(*shape, seed=number)).save(folder / split / class_name / f"{number}.png")
    return folder


def config(folder, **keys):
    return DataOptions(loading="stream", folder=str(folder), **keys)


@pytest.mark.parametrize("image_size", [32, 0])
def test_a_folder_of_images_of_one_size_is_taken_as_it_is(tmp_path, image_size):
    chosen = config(pictures(tmp_path, [(32, 32, 3)] * 2), **{"image_size": image_size})
    assert loading.describe(chosen).image_shape == (32, 32, 3)
    data = loading.load(chosen)
    for images in (data.train_images, data.test_images):
        np.testing.assert_array_equal(images[:2], [noise(32, 32, 3, seed=number) for number in range(2)])
    trained = next(data.train_images.train_batches(np.array([[0, 1]]), 0, np.arange(2)))
    np.testing.assert_array_equal(trained, data.train_images[:2])


def test_images_of_several_sizes_want_one_and_the_message_names_two(tmp_path):
    folder = pictures(tmp_path, [(32, 32, 3), (32, 40, 3)])
    with pytest.raises(ValueError, match=r"1.png has 40 x 32 pixels and .*0.png 32 x 32: set --config.data.image_size"):
        loading.describe(config(folder))


def test_an_image_of_another_size_is_found_at_the_latest_when_it_is_read(tmp_path):
    pictures(tmp_path, [(32, 32, 3), (40, 32, 3)])
    images = Stream(FileSource(tmp_path / "train", ("a", "b")), (32, 32, 3))
    with pytest.raises(
        DataReadError, match=r"1.png cannot be read \(it has 32 x 40 pixels, the first image has 32 x 32"
    ):
        images[:]


def test_the_share_of_the_centre_crop_is_a_key_with_imagenets_default_for_large_images(tmp_path):
    folder = pictures(tmp_path, [(32, 32, 3)])
    assert loading.resize_rule(config(folder, **{"image_size": 64})) == ResizeRule(64, 64, 1.0)
    assert loading.resize_rule(config(folder, **{"image_size": 224})) == ResizeRule(224, 224, 0.875)
    chosen = config(folder, **{"image_size": 224, "crop_share": 0.95})
    assert loading.resize_rule(chosen) == ResizeRule(224, 224, 0.95)
    assert loading.resize_rule(DataOptions()) == ResizeRule(8, 8, 1.0)
