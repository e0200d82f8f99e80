"""Refined logit distillation (Sun et al. 2025): cross-entropy + 1 confidence + 8 classes below the true one.

python -m rdd_jax.main --config=configs/rld.py[:PRESET]
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The release's weights, which grow linearly over the first 20 of 240 epochs."""
    return presets.get_config(preset, rld=1.0)
