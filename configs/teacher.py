"""A teacher, trained on purpose: the run that a distillation without `teacher.checkpoint` would start by itself.

    python -m rdd_jax.main --config=configs/teacher.py[:PRESET] [--config.student.name=NETWORK]

It lands in runs/teacher-<preset>-<name>-seed<seed>, where distillations look for it.

Published for cifar100: resnet32x4 79.42 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The preset's teacher network, trained from labels alone."""
    return presets.get_teacher_config(preset)
