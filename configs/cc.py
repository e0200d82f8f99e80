"""Correlation congruence (Peng et al. 2019): cross-entropy + 0.02 correlation.

    python -m rdd_jax.main --config=configs/cc.py[:PRESET]

Published for cifar100: 72.97 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, cc=0.02)
