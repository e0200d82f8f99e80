"""`digits`: the handwritten digits that scikit-learn contains, divided into training and test images."""

from typing import Any

import numpy as np


def load_arrays() -> dict[str, Any]:
    """Loads the digits; a fifth of each class, drawn by a fixed permutation, is the test set.

    Returns:
        {"train_images", "test_images": uint8[n,8,8,1], "train_labels", "test_labels": i32[n], "class_names": tuple}.
    """
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)

    # RandomState and not Generator: NumPy promises that its stream never changes.
    shuffled = np.random.RandomState(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    in_test = np.zeros(len(labels), bool)
    in_test[by_class[::5]] = True
    return {
        "train_images": images[~in_test],
        "train_labels": labels[~in_test],
        "test_images": images[in_test],
        "test_labels": labels[in_test],
        "class_names": tuple(str(name) for name in digits.target_names),
    }
