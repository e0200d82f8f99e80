"""Variational information distillation (Ahn et al. 2019): cross-entropy + Gaussian likelihood of the maps.

    python -m rdd_jax.main --config=configs/vid.py[:PRESET]

Published for cifar100: 73.09 % (RepDistiller's table).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.vid.weight = 1.0
    return config
