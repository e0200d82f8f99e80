"""Correlation congruence (Peng et al. 2019): cross-entropy + 0.02 correlation.

    python -m rdd_jax.main --config=configs/cc.py[:PRESET]

Published for cifar100: 72.97 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.cc.weight = 0.02
    return config
