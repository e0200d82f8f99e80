"""Attention transfer (Zagoruyko & Komodakis 2017): cross-entropy + 1000 attention.

    python -m rdd_jax.main --config=configs/at.py[:PRESET]

Published for cifar100: 73.44 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.at.weight = 1000.0
    return config
