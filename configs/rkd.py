"""Relational knowledge distillation (Park et al. 2019): cross-entropy + 25 distance + 50 angle.

    python -m rdd_jax.main --config=configs/rkd.py[:PRESET]

`--config.distill.rkd.angle_weight=0` leaves the distances alone, `distance_weight=0` the angles.

digits: 99.00 ± 0.25 % (resnet20 -> resnet8, 5 seeds), 30 s a run on two CPU cores after the teacher.
cifar100_small: 54.45 ± 0.09 % (3 seeds). cifar100: 71.90 % (RepDistiller's table), 71.55 % (the RDD paper's);
not run here.
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weights."""
    config = base.get_config(preset)
    config.distill.rkd.weight = 1.0
    return config
