"""Probabilistic knowledge transfer (Passalis & Tefas 2018): cross-entropy + 30000 divergence.

    python -m rdd_jax.main --config=configs/pkt.py[:PRESET]

Published for cifar100: 73.64 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, pkt=30000.0)
