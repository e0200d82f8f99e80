"""Similarity-preserving distillation (Tung & Mori 2019): cross-entropy + 3000 Gram matrices.

    python -m rdd_jax.main --config=configs/sp.py[:PRESET]

Published for cifar100: 72.94 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, sp=3000.0)
