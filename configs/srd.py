"""SRD (Miles & Mikolajczyk 2024): cross-entropy + KL divergence + 2 times the log distance of normalised embeddings.

    python -m rdd_jax.main --config=configs/srd.py[:PRESET]

Published for imagenet2012: 71.87 % (the release), 71.65 % (torchdistill).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The release's weights; distances to the power of 4, temperature 1."""
    return presets.get_config(preset, srd=1.0)
