"""The order in which an epoch visits the training set: a function of (seed, epoch) and of nothing else.

There is no sampler state, so a resumed run needs no checkpoint of one, and every host computes the same order.
"""

import numpy as np


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns a permutation of range(num_examples), i32[num_examples], keyed by (seed, epoch); neither is negative."""
    generator = np.random.default_rng([seed, epoch])
    return generator.permutation(num_examples).astype(np.int32)


def epoch_batches(num_examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the epoch's batches of positions, i32[num_examples // batch_size, batch_size].

    The examples left over sit this epoch out; another epoch's order leaves out others.

    Raises:
        ValueError: unless 1 <= batch_size <= num_examples.
    """
    if not 1 <= batch_size <= num_examples:
        raise ValueError(f"batch_size must be between 1 and the {num_examples} examples of the set, not {batch_size}")
    steps = num_examples // batch_size
    return epoch_order(num_examples, seed, epoch)[: steps * batch_size].reshape(steps, batch_size)
