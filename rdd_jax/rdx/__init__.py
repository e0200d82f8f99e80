"""RDX, the diagnostic: the pairs of examples that one of two representations groups and the other does not.

Kondapaneni et al. 2025 (RDX) define the difference between the ranks of neighbours. Irakiza & Mugisha 2026 (RDD) mine
positives, hard negatives and confusion from it for a contrastive loss.
"""

from rdd_jax.rdx.difference import (
    Affinities,
    affinities,
    confusion,
    locally_biased_difference,
    pairwise_distances,
    rank_normalize,
    relative_difference,
)
from rdd_jax.rdx.example_difficulty import difficulty, difficulty_order
from rdd_jax.rdx.mining import ContrastTable, TripletTable, mine, mine_triplets
from rdd_jax.rdx.ranking import RankedEmbeddings, rank_embeddings, ranks_nbytes

__all__ = [
    "Affinities",
    "ContrastTable",
    "RankedEmbeddings",
    "TripletTable",
    "affinities",
    "confusion",
    "difficulty",
    "difficulty_order",
    "locally_biased_difference",
    "mine",
    "mine_triplets",
    "pairwise_distances",
    "rank_embeddings",
    "rank_normalize",
    "ranks_nbytes",
    "relative_difference",
]
