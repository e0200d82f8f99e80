"""Data sets of items: objects with `__len__` and `__getitem__` become arrays, and mistakes in them are named."""

import numpy as np
import pytest
from PIL import Image

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading, own_data
from rdd_jax.data.options import DataOptions

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
LABELS = [0, 1, 1, 0]
PAIRS = list(zip(PIXELS, LABELS, strict=True))


class Items:
    """A data set of items that, like those of PyTorch, is no sequence."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        return self.items[position]


class Tensor:
    """An array of another library, as PyTorch's tensors are."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values


@pytest.mark.parametrize(
    "train",
    [
        PAIRS,
        Items([(Image.fromarray(image), np.int64(label)) for image, label in PAIRS]),
        Items([(Tensor(image), Tensor(label)) for image, label in PAIRS]),
        Items([{"image": image, "label": label, "id": "x"} for image, label in PAIRS]),
    ],
    ids=["pairs", "pillow", "tensors", "mappings"],
)
def test_items_become_arrays(train):
    arrays = own_data.to_arrays("data", {"train": train, "test": PAIRS[:2], "class_names": ["cat", "dog"]})
    np.testing.assert_array_equal(arrays["train_images"], PIXELS)
    assert arrays["train_labels"].tolist() == LABELS
    data = own_data.check("data", arrays)
    assert (len(data.test_images), data.class_names) == (2, ("cat", "dog"))


def test_images_without_channels_are_gray():
    gray = [(PIXELS[0, :, :, 0], 0), (Image.fromarray(PIXELS[1, :, :, 0]), 1)]
    arrays = own_data.to_arrays("data", {"train": gray, "test": gray})
    np.testing.assert_array_equal(arrays["train_images"], PIXELS[:2, :, :, :1])


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (iter(PAIRS), "data: train is a list_iterator: give an object with __len__ and __getitem__"),
        ([], "data: train is empty"),
        (
            [*PAIRS, (PIXELS[0, :5], 0)],
            r"train\[4\] has an image of \[5, 5, 3\], and data: train\[0\] one of \[6, 5, 3\]",
        ),
        ([(PIXELS[0] / 255, 0)], r"train\[0\] must have an image uint8.*got float64\[6, 5, 3\]: leave out transforms"),
        ([(PIXELS[0].transpose(2, 0, 1), 0)], r"got uint8\[3, 6, 5\]: .* channels last"),
        ([(Image.new("RGBA", (5, 6)), 0)], r"an image of mode RGBA: convert it by image.convert"),
        ([(PIXELS[0], 0.5)], r"train\[0\] must have an integer as its label; got float64\[\]"),
        ([(PIXELS[0], [0, 1])], r"an integer as its label; got int64\[2\]"),
        ([PIXELS[0]], r"train\[0\] must be a pair \(image, label\), or have the keys"),
        ([{"img": PIXELS[0]}], r'train\[0\] must have the keys "image" and "label"; it has img'),
        (Items({0: PAIRS[0], 2: PAIRS[1]}), r"train\[1\] fails: KeyError: 1"),
    ],
)
def test_mistakes_are_named(train, message):
    with pytest.raises(UserError, match=message):
        own_data.to_arrays("data", {"train": train, "test": PAIRS})


def test_both_splits_are_needed():
    with pytest.raises(UserError, match=r"data has no data set test \(it has train\): give train and test"):
        own_data.to_arrays("data", {"train": PAIRS})


def test_a_function_returns_items(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\ndef load():\n    pairs = [(np.full((6, 5, 1), i, np.uint8), i % 2) for i in range(4)]\n"
        "    return {'train': pairs, 'test': pairs[:2]}\n"
    )
    options = DataOptions(dataset=f"{tmp_path / 'mine.py'}:load")
    assert loading.describe(options) == (4, 2, (6, 5, 1), 2)
