"""Normalized knowledge distillation (Yang et al. 2023): cross-entropy + NKD.

    python -m rdd_jax.main --config=configs/nkd.py[:PRESET]

`distill.nkd.gamma` and `distill.nkd.temperature` are the release's for the data set of the preset. Nothing is published
for the networks of cifar100.
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The release's weights."""
    return presets.get_config(preset, nkd=1.0)
