"""Relational representation distillation (Giakoumoglou & Stathaki 2024): cross-entropy + relations to a memory.

    python -m rdd_jax.main --config=configs/rrd.py[:PRESET]

`--config.distill.rrd.memory=momentum` keeps a vector of every image instead of a queue of the latest.

Published for cifar100: 74.48 % (the RRD paper's table).
"""

from configs import base


def get_config(preset=""):
    """The paper's weight."""
    config = base.get_config(preset)
    config.distill.rrd.weight = 1.0
    return config
