"""Data sets whose items are one image and its label, as Grain's data sources and PyTorch's data sets have them.

Such is any object with `__len__` and `__getitem__`, a list included. An item is the pair (image, label), or a mapping
with the keys "image" and "label", in which other keys are ignored. The image is a Pillow image of mode L or RGB, or an
array uint8[h,w,c] or uint8[h,w] with 1 or 3 channels, all of one shape. The label is an integer. PyTorch's tensors on
the CPU are taken as such arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from rdd_jax.core import user_code
from rdd_jax.core.errors import UserError

_SPLITS = ("train", "test")


class Items(Protocol):
    """A data set of items, in a fixed order."""

    def __len__(self) -> int:
        """Returns the number of items."""

    def __getitem__(self, position: int, /) -> Any:
        """Returns one item, the same at every call."""


def read_splits(source: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Reads all items into memory.

    Args:
        source: names the data in messages.
        given: {"train": Items, "test": Items} and perhaps "class_names".

    Returns:
        {"train_images", "test_images": uint8[n,h,w,c], "train_labels", "test_labels": i64[n]}, and "class_names" where
        they are given.

    Raises:
        UserError: for an item that cannot be read, or has another form than the module describes.
    """
    arrays = {name: value for name, value in given.items() if name == "class_names"}
    for split in _SPLITS:
        if split not in given:
            raise UserError(f"{source} has no data set {split} (it has {', '.join(given)}): give train and test")
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = _read(f"{source}: {split}", given[split])
    return arrays


def _read(title: str, items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images uint8[n,h,w,c] and the labels i64[n] of all items."""
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise UserError(
            f"{title} is a {type(items).__name__}: give an object with __len__ and __getitem__, as data sources of "
            "Grain and data sets of PyTorch are"
        )
    with user_code.as_user_error(f"the length of {title}"):
        count = len(items)
    if not count:
        raise UserError(f"{title} is empty: give images")
    first, label = _read_item(f"{title}[0]", items, 0)
    images, labels = np.empty((count, *first.shape), np.uint8), np.empty(count, np.int64)
    images[0], labels[0] = first, label
    # disable=None shows the bar on a terminal only.
    for position in tqdm(range(1, count), desc=f"reading {title}", unit=" images", disable=None):
        image, labels[position] = _read_item(f"{title}[{position}]", items, position)
        if image.shape != first.shape:
            raise UserError(
                f"{title}[{position}] has an image of {list(image.shape)}, and {title}[0] one of {list(first.shape)}: "
                "scale all images to one size"
            )
        images[position] = image
    return images, labels


def _read_item(place: str, items: Items, position: int) -> tuple[np.ndarray, int]:
    """Reads the image uint8[h,w,c] and the label of one item."""
    with user_code.as_user_error(place):
        image, label = _divide(place, items[position])
        mode = getattr(image, "mode", "RGB")  # Of a Pillow image.
        pixels, number = np.asarray(image), np.asarray(label)
    if mode not in ("L", "RGB"):
        raise UserError(f'{place} has an image of mode {mode}: convert it by image.convert("RGB")')
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,)):
        raise UserError(
            f"{place} must have an image uint8[h,w,c] with 1 or 3 channels, or uint8[h,w]; got "
            f"{pixels.dtype}{list(pixels.shape)}: leave out transforms such as ToTensor, and put channels last"
        )
    if number.shape or not np.issubdtype(number.dtype, np.integer):
        raise UserError(f"{place} must have an integer as its label; got {number.dtype}{list(number.shape)}")
    return pixels.reshape(*pixels.shape[:2], -1), int(number)


def _divide(place: str, item: Any) -> tuple[Any, Any]:
    """Returns the image and the label of an item."""
    if isinstance(item, Mapping):
        if not {"image", "label"} <= item.keys():
            raise UserError(f'{place} must have the keys "image" and "label"; it has {", ".join(map(str, item))}')
        return item["image"], item["label"]
    if not isinstance(item, Sequence) or len(item) != 2:
        raise UserError(
            f'{place} must be a pair (image, label), or have the keys "image" and "label"; got {type(item)}'
        )
    return item[0], item[1]
