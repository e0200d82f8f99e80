"""RDX, the diagnostic: the pairs of examples that one of two representations groups and the other does not.

Kondapaneni et al. 2025 (RDX) define the difference of ranks; Irakiza & Mugisha 2026 (RDD) mine positives, hard
negatives and confusion for a contrastive loss from it.
"""

from rdd_jax.rdx.blockwise import Ranked
from rdd_jax.rdx.difference import (
    Affinities,
    affinities,
    confusion,
    locally_biased_difference,
    pairwise_distances,
    rank_normalize,
    relative_difference,
)
from rdd_jax.rdx.mining import (
    ContrastTable,
    TripletTable,
    difficulty,
    difficulty_order,
    mine,
    mine_triplets,
    ranked,
    ranks_nbytes,
)

__all__ = [
    "Affinities",
    "ContrastTable",
    "Ranked",
    "TripletTable",
    "affinities",
    "confusion",
    "difficulty",
    "difficulty_order",
    "locally_biased_difference",
    "mine",
    "mine_triplets",
    "pairwise_distances",
    "rank_normalize",
    "ranked",
    "ranks_nbytes",
    "relative_difference",
]
