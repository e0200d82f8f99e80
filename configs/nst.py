"""Neuron selectivity transfer (Huang & Wang 2017): cross-entropy + 50 MMD.

    python -m rdd_jax.main --config=configs/nst.py[:PRESET]

Published for cifar100: 73.30 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.nst.weight = 50.0
    return config
