"""Probabilistic knowledge transfer (Passalis & Tefas 2018): cross-entropy + 30000 divergence.

    python -m rdd_jax.main --config=configs/pkt.py[:PRESET]

Published for cifar100: 73.64 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.pkt.weight = 30000.0
    return config
