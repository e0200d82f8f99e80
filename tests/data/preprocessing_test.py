"""From image files to a network's input: as evaluation in training does, and nothing else is taken."""

import numpy as np
import pytest
from PIL import Image

from rdd_jax.data import loading
from rdd_jax.data.options import DataOptions
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.data.resize import ResizeRule

RGB = Preprocessing(ResizeRule(8, 8), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
GRAY = Preprocessing(ResizeRule(8, 8), (0.5,), (0.2,))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_files_of_any_size_become_the_test_images_of_the_run(tmp_path):
    for split in ("train", "test"):
        for seed, (class_name, shape) in enumerate({"a": (50, 40, 3), "b": (9, 70), "c": (20, 20, 4)}.items()):
            (tmp_path / split / class_name).mkdir(parents=True)
            Image.fromarray(noise(*shape, seed=seed)).save(tmp_path / split / class_name / "image.png")
    data = DataOptions(loading="stream", folder=str(tmp_path), image_size=16, crop_share=0.875)
    dataset = loading.load(data)
    preprocessing = Preprocessing(loading.resize_rule(data), dataset.mean, dataset.std)
    preprocessing = Preprocessing.from_json(preprocessing.to_json())
    paths = [tmp_path / "test" / class_name / "image.png" for class_name in "abc"]
    np.testing.assert_array_equal([preprocessing.read(path) for path in paths], dataset.test_images[:])
    np.testing.assert_array_equal([preprocessing.read(Image.open(path)) for path in paths], dataset.test_images[:])


def test_gray_networks_take_gray_images_however_they_are_stored():
    image = Image.fromarray(noise(8, 8))
    for mode in ("L", "RGB", "RGBA", "LA"):
        np.testing.assert_array_equal(GRAY.read(image.convert(mode)), np.asarray(image)[..., None])
    with pytest.raises(ValueError, match="in colour, and the network takes gray images"):
        GRAY.read(Image.fromarray(noise(8, 8, 3)))


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "image.png"
    with pytest.raises(ValueError, match="No such file"):
        RGB.read(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="cannot identify image file"):
        RGB.read(path)
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="truncated"):
        RGB.read(path)
    Image.fromarray(noise(8, 8).astype(np.uint16)).save(path)
    with pytest.raises(ValueError, match="8 bits a channel"):
        RGB.read(path)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.full((2, 8, 8, 3), 0.5, np.float32), r"float32\[2,8,8,3\]"),
        (noise(2, 9, 8, 3), r"uint8\[2,9,8,3\]"),
        (noise(2, 8, 8, 1), r"uint8\[2,8,8,1\]"),
        (noise(8, 8, 3), r"uint8\[8,8,3\]"),
        (noise(2, 8, 8, 3).tolist(), r"int64\[2,8,8,3\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_arrays_than_a_batch_of_pixels_are_refused(images, found):
    with pytest.raises(ValueError, match=rf"must be uint8\[b,8,8,3\]; got {found}"):
        RGB.normalize(images)


def test_a_batch_is_normalized():
    images = noise(2, 8, 8, 3)
    expected = (images / 255 - RGB.mean) / RGB.std
    np.testing.assert_allclose(RGB.normalize(images), expected, rtol=1e-5, atol=1e-6)
