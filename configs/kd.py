"""Knowledge distillation (Hinton et al. 2015): 0.1 cross-entropy + 0.9 softened predictions at temperature 4.

    python -m rdd_jax.main --config=configs/kd.py[:PRESET]

digits: 98.78 ± 0.25 % (resnet20 -> resnet8, 5 seeds), 30 s a run on two CPU cores after the teacher.
cifar100_small: 55.18 ± 0.13 % (3 seeds). cifar100: 73.33 %
(RepDistiller's table), 72.93 % (the RDD paper's); not run here.
"""

from configs import base


def get_config(preset=""):
    """RepDistiller's weights."""
    config = base.get_config(preset)
    config.distill.ce.weight = 0.1
    config.distill.kd.weight = 0.9
    return config
