"""RDX triplets (after the release of Irakiza & Mugisha 2026): cross-entropy + 0.8 triplet loss.

    python -m rdd_jax.main --config=configs/rdx_triplet.py[:PRESET]

No accuracy of it is published.
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RDD's weight: the release gives none of its own."""
    return presets.get_config(preset, rdx_triplet=0.8)
