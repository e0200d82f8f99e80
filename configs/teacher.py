"""A teacher, trained on purpose: the run that a distillation without `teacher.checkpoint` would start by itself.

    python -m rdd_jax.main --config=configs/teacher.py[:PRESET] [--config.student.name=NETWORK]

It lands in runs/teacher-<preset>-<name>-seed<seed>, where distillations look for it.

digits: resnet20 98.61 % (seed 0), 35 s on two CPU cores. cifar100_small: resnet20 56.75 % (seed 0), 17 minutes on
two. cifar100: resnet32x4 79.42 % (RepDistiller's table; not run here, 4.8 s a step on two CPU cores).
"""

from configs import base
from rdd_jax.runs import teacher_config


def get_config(preset=""):
    """The preset's teacher network, trained from labels alone."""
    return teacher_config(base.get_config(preset))
