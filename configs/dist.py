"""DIST (Huang et al. 2022): cross-entropy + 2 times the distance by Pearson correlations, temperature 4.

    python -m rdd_jax.main --config=configs/dist.py[:PRESET]

Published for cifar100: 76.31 ± 0.19 % at the best test epoch (the release).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The release's weights."""
    return presets.get_config(preset, dist=2.0)
