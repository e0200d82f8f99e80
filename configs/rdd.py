"""Representational difference distillation (Irakiza & Mugisha 2026): cross-entropy + 0.8 contrast where RDX points.

    python -m rdd_jax.main --config=configs/rdd.py[:PRESET]

digits: 98.94 ± 0.36 % (resnet20 -> resnet8, 5 seeds), 35 s a run on two CPU cores after the teacher's 35.
cifar100_small: 56.20 ± 0.23 % (resnet20 56.75 % -> resnet8, 3 seeds), 13 minutes on one core after the teacher's 17 on
two. cifar100: 75.58 % (the paper's, one run); not run to its end here: 1.45 s a step
on two CPU cores, 76 s a mining.
"""

from configs import base


def get_config(preset=""):
    """The paper's weights: 1 for cross-entropy, 0 for KD, 0.8 for RDD; the preset sets the sizes and the refresh."""
    config = base.get_config(preset)
    config.distill.rdd.weight = 0.8
    return config
