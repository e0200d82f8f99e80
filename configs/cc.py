"""Correlation congruence (Peng et al. 2019): cross-entropy + 0.02 correlation.

    python -m rdd_jax.main --config=configs/cc.py[:PRESET]

digits: 98.94 ± 0.63 % (resnet20 -> resnet8, 5 seeds). cifar100: 72.97 % (RepDistiller's table); not run here.
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.cc.weight = 0.02
    return config
