"""Similarity-preserving distillation (Tung & Mori 2019): cross-entropy + 3000 Gram matrices.

    python -m rdd_jax.main --config=configs/sp.py[:PRESET]

Published for cifar100: 72.94 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.sp.weight = 3000.0
    return config
