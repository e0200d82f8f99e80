"""`cifar100_small`: 20 confusable classes of CIFAR-100, so few images that a CPU can learn them."""

import numpy as np

# The classes of the superclasses fish, flowers, people and trees, in that order, alphabetical within each. The position
# of a class here is its label.
CLASSES = (
    *("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    *("orchid", "poppy", "rose", "sunflower", "tulip"),
    *("baby", "boy", "girl", "man", "woman"),
    *("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
)
IMAGES_PER_CLASS = 250  # Of the training images; of the test images it has all.


def part(
    class_names: tuple[str, ...], labels: np.ndarray, images_per_class: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which images of `cifar100` these are, in the order there, and what they are called.

    Args:
        class_names: of `cifar100`.
        labels: i32[n], of one of its splits.
        images_per_class: the first so many; None for all.

    Returns:
        (positions i64[m], labels i32[m], positions in CLASSES).
    """
    new_labels = np.full(len(class_names), -1, np.int32)
    new_labels[[class_names.index(name) for name in CLASSES]] = np.arange(len(CLASSES))
    labels = new_labels[labels]
    first = [np.flatnonzero(labels == label)[:images_per_class] for label in range(len(CLASSES))]
    positions = np.sort(np.concatenate(first))
    return positions, labels[positions]
