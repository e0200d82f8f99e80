"""The options of RDD, checked."""

from dataclasses import dataclass

import numpy as np

from rdd_jax.methods._contrastive import check_candidates, check_mining, check_options


@dataclass(frozen=True, eq=False)
class RddOptions:
    """The checked arguments of `rdd`, and what follows from them."""

    labels: np.ndarray
    dim: int
    num_negatives: int
    pool_size: int
    uniform_negatives: float
    temperature: float
    momentum: float
    gamma: float
    beta: float
    positives: str
    anchor_weighting: bool
    both_directions: bool
    same_class_negatives: bool
    block_size: int
    candidates: int

    def __post_init__(self) -> None:
        check_options(
            "rdd",
            dim=self.dim,
            num_negatives=self.num_negatives,
            temperature=self.temperature,
            momentum=self.momentum,
        )
        check_mining("rdd", gamma=self.gamma, beta=self.beta, block_size=self.block_size)
        if not 1 <= self.pool_size < self.num_examples:
            raise ValueError(
                f"rdd: pool_size must be in [1, {self.num_examples - 1}], below the images; got {self.pool_size}"
            )
        if not 0 <= self.uniform_negatives <= 1:
            raise ValueError(f"rdd: uniform_negatives is a share in [0, 1]; got {self.uniform_negatives}")
        if self.positives not in ("a01", "self"):
            raise ValueError(f'rdd: positives must be "a01" or "self"; got "{self.positives}"')
        check_candidates("rdd", self.candidates, minimum=self.pool_size + 1, num_examples=self.num_examples)

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    @property
    def num_uniform(self) -> int:
        """The number of uniform negatives of each step."""
        return round(self.num_negatives * self.uniform_negatives)

    @property
    def draw_counts(self) -> np.ndarray:
        """The number of draws f32[pool+uniform] that each negative stands for: first the hard ones, then the uniform.

        A hard negative is weighted by its expected number of draws instead of being drawn.
        """
        counts = np.ones(self.pool_size + self.num_uniform, np.float32)
        counts[: self.pool_size] = (self.num_negatives - self.num_uniform) / self.pool_size
        return counts
