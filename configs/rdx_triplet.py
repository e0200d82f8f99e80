"""RDX triplets (after the release of Irakiza & Mugisha 2026): cross-entropy + 0.8 triplet loss.

    python -m rdd_jax.main --config=configs/rdx_triplet.py[:PRESET]

No accuracy of it is published.
"""

from configs import base


def get_config(preset=""):
    """RDD's weight: the release gives none of its own."""
    config = base.get_config(preset)
    config.distill.rdx_triplet.weight = 0.8
    return config
