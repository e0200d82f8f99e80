"""RDD with KD: cross-entropy + softened predictions + 0.8 contrast where RDX points.

    python -m rdd_jax.main --config=configs/rdd_kd.py[:PRESET]

The weights are those that Tian et al. 2020 give CRD with KD (1, 1, 0.8); the RDD paper has no such run.

cifar100_small: 57.17 ± 0.69 % (resnet20 56.75 % -> resnet8, 3 seeds). cifar100: not run here.
"""

from configs import rdd


def get_config(preset=""):
    """RDD's weights, with KD as heavy as the labels."""
    config = rdd.get_config(preset)
    config.distill.kd.weight = 1.0
    return config
