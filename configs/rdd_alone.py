"""RDD's contrastive term without KD: 1.0 CE + 0.8 RDD. A part of the paper's objective, which is configs/rdd.py.

python -m rdd_jax.main --config=configs/rdd_alone.py[:PRESET]
"""

from configs import base


def get_config(preset=""):
    """The weights of the paper's objective, with 0 for KD."""
    config = base.get_config(preset)
    config.distill.rdd.weight = 0.8
    return config
