"""Transformed teacher matching (Zheng & Yang 2024): cross-entropy + 45 divergence of predictions.

    python -m rdd_jax.main --config=configs/ttm.py[:PRESET]

`--config.distill.ttm.weighted=True` is WTTM.

Published for cifar100: 76.17 %, and 76.06 % for WTTM, at the best test epoch (the release).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The weight of the release's example, vgg13 -> vgg8; the paper tunes it for each pair of networks."""
    return presets.get_config(preset, ttm=45.0)
