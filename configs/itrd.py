"""ITRD (Miles et al. 2022): cross-entropy + 2 times the correlations + the mutual information of the embeddings.

    python -m rdd_jax.main --config=configs/itrd.py[:PRESET]

Published for cifar100: 76.69 % (the release), 76.19 % in the table of Zheng & Yang (2024).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The weights of the release's example, and its default alpha of 1.5."""
    return presets.get_config(preset, itrd=1.0)
