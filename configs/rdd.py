"""Representational difference distillation (Irakiza & Mugisha 2026): cross-entropy + 0.8 contrast where RDX points.

python -m rdd_jax.main --config=configs/rdd.py[:PRESET]
"""

from configs import base


def get_config(preset=""):
    """The paper's weights: alpha 0 for KD, beta 0.8 for RDD; the preset sets the sizes and the refresh."""
    config = base.get_config(preset)
    config.distill.rdd.weight = 0.8
    return config
