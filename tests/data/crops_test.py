import numpy as np
from PIL import Image

from rdd_jax.data import crops
from rdd_jax.data.resize import ResizeRule


def test_random_crops_of_one_colour_keep_it_and_have_the_size_asked_for():
    for shape in ((40, 90, 3), (7, 300, 3)):
        image = Image.fromarray(np.full(shape, 77, np.uint8))
        crop = crops.random_crop(image, ResizeRule(12, 16), np.random.default_rng(0))
        assert crop.shape == (12, 16, 3)
        assert (crop == 77).all()


def test_random_crops_keep_8_to_100_percent_at_3_to_4():
    """Told from where the corners of the crop come from: the image's colours are its coordinates."""
    size = 240
    rows, columns = np.mgrid[:size, :size].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    heights, widths = [], []
    for seed in range(300):
        crop = crops.random_crop(Image.fromarray(image), ResizeRule(60, 60), np.random.default_rng(seed)).astype(float)
        heights.append((crop[-1, 30, 0] - crop[0, 30, 0]) * 60 / 59)
        widths.append((crop[30, -1, 1] - crop[30, 0, 1]) * 60 / 59)
    shares, ratios = np.multiply(heights, widths) / size**2, np.divide(widths, heights)
    slack = 0.04  # A corner's colour is rounded, and an average of some pixels.
    assert shares.min() > 0.08 - slack
    assert shares.min() < 0.2
    assert shares.max() > 0.9
    # Uniform in the area, but that large areas are drawn again where their shape does not fit.
    assert 0.4 < np.mean(shares) < 0.56
    assert ratios.min() > 3 / 4 - slack
    assert ratios.max() < 4 / 3 + slack
    assert ratios.min() < 0.8
    assert ratios.max() > 1.25
