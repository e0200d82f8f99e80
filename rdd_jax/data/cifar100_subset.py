"""`cifar100_small`: 20 similar classes of CIFAR-100, with few enough images to train on a CPU."""

import numpy as np

# The classes of the superclasses fish, flowers, people and trees, alphabetical within each. The position of a class in
# this tuple is its label.
CLASSES = (
    *("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    *("orchid", "poppy", "rose", "sunflower", "tulip"),
    *("baby", "boy", "girl", "man", "woman"),
    *("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
)
IMAGES_PER_CLASS = 250  # In training; all test images are kept.


def subset_indices(
    class_names: tuple[str, ...], labels: np.ndarray, images_per_class: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Selects the images of the subset from one split of `cifar100`, in their order there.

    Args:
        class_names: of `cifar100`.
        labels: i32[n], of one of its splits.
        images_per_class: keeps the first so many of each class; None keeps all.

    Returns:
        (positions i64[m], labels i32[m], positions in CLASSES).
    """
    new_labels = np.full(len(class_names), -1, np.int32)
    new_labels[[class_names.index(name) for name in CLASSES]] = np.arange(len(CLASSES))
    labels = new_labels[labels]
    first = [np.flatnonzero(labels == label)[:images_per_class] for label in range(len(CLASSES))]
    positions = np.sort(np.concatenate(first))
    return positions, labels[positions]
