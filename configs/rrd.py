"""Relational representation distillation (Giakoumoglou & Stathaki 2024): cross-entropy + relations to a memory.

    python -m rdd_jax.main --config=configs/rrd.py[:PRESET]

`--config.distill.rrd.memory=momentum` keeps a vector of every image instead of a queue of the latest.

Published for cifar100: 74.48 % (the RRD paper's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The paper's weight."""
    return presets.get_config(preset, rrd=1.0)
