"""Variational information distillation (Ahn et al. 2019): cross-entropy + Gaussian likelihood of the maps.

    python -m rdd_jax.main --config=configs/vid.py[:PRESET]

Published for cifar100: 73.09 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, vid=1.0)
