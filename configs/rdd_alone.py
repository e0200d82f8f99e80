"""RDD's contrastive term without KD: 1.0 CE + 0.8 RDD. A part of the paper's objective, which is configs/rdd.py.

python -m rdd_jax.main --config=configs/rdd_alone.py[:PRESET]
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The weights of the paper's objective, with 0 for KD."""
    return presets.get_config(preset, ce=1.0, rdd=0.8)
