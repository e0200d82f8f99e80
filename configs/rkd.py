"""Relational knowledge distillation (Park et al. 2019): cross-entropy + 25 distance + 50 angle.

    python -m rdd_jax.main --config=configs/rkd.py[:PRESET]

`--config.distill.rkd.angle_weight=0` leaves the distances alone, `distance_weight=0` the angles.

Published for cifar100: 71.90 % (RepDistiller's table), 71.55 % (the RDD paper's).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weights."""
    return presets.get_config(preset, rkd=1.0)
