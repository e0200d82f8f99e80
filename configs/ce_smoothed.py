"""Cross-entropy with smoothed labels (Szegedy et al. 2016), without a teacher: the target is 0.9 label + 0.1 uniform.

python -m rdd_jax.main --config=configs/ce_smoothed.py[:PRESET]
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The share of 0.1 is that of the paper."""
    config = presets.get_config(preset)
    config.distill.ce.smoothing = 0.1
    return config
