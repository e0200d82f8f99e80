"""Relational knowledge distillation (Park et al. 2019): cross-entropy + 25 distance + 50 angle.

    python -m rdd_jax.main --config=configs/rkd.py[:PRESET]

`--config.distill.rkd.angle_weight=0` leaves the distances alone, `distance_weight=0` the angles.

Published for cifar100: 71.90 % (RepDistiller's table), 71.55 % (the RDD paper's).
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weights."""
    config = base.get_config(preset)
    config.distill.rkd.weight = 1.0
    return config
