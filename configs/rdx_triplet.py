"""RDX triplets (after the release of Irakiza & Mugisha 2026): cross-entropy + 0.8 triplet loss.

    python -m rdd_jax.main --config=configs/rdx_triplet.py[:PRESET]

digits: 98.61 ± 0.44 % (resnet20 -> resnet8, 5 seeds). cifar100: no result is published; not run here.
"""

from configs import base


def get_config(preset=""):
    """RDD's weight: the release gives none of its own."""
    config = base.get_config(preset)
    config.distill.rdx_triplet.weight = 0.8
    return config
