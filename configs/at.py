"""Attention transfer (Zagoruyko & Komodakis 2017): cross-entropy + 1000 attention.

    python -m rdd_jax.main --config=configs/at.py[:PRESET]

Published for cifar100: 73.44 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, at=1000.0)
