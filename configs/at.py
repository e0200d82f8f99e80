"""Attention transfer (Zagoruyko & Komodakis 2017): cross-entropy + 1000 attention.

    python -m rdd_jax.main --config=configs/at.py[:PRESET]

digits: 90.44 ± 1.85 % (resnet20 -> resnet8, 5 seeds). cifar100: 73.44 % (RepDistiller's table); not run here.
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weight."""
    config = base.get_config(preset)
    config.distill.at.weight = 1000.0
    return config
