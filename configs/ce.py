"""The student without distillation: cross-entropy alone, what every method has to beat.

    python -m rdd_jax.main --config=configs/ce.py[:PRESET]

No teacher is trained for it. One that is there already, beside the workdir or at `--config.teacher.checkpoint`, is
evaluated for comparison; `--config.teacher.name=` (nothing after the sign) leaves it out.

Published for cifar100: 72.50 % for resnet8x4 (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The labels alone."""
    return presets.get_config(preset)
