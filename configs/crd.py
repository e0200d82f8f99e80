"""Contrastive representation distillation (Tian et al. 2020): cross-entropy + 0.8 contrast with a bank.

    python -m rdd_jax.main --config=configs/crd.py[:PRESET]

Published for cifar100: 75.51 % (RepDistiller's table), 75.45 % (the RDD paper's).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight; dim 128, temperature 0.07, momentum 0.5; the preset sets the number of negatives."""
    return presets.get_config(preset, crd=0.8)
