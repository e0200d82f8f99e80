"""Neuron selectivity transfer (Huang & Wang 2017): cross-entropy + 50 MMD.

    python -m rdd_jax.main --config=configs/nst.py[:PRESET]

Published for cifar100: 73.30 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, nst=50.0)
