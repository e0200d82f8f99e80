"""Knowledge distillation (Hinton et al. 2015): 0.1 cross-entropy + 0.9 softened predictions at temperature 4.

    python -m rdd_jax.main --config=configs/kd.py[:PRESET]

Published for cifar100: 73.33 % (RepDistiller's table), 72.93 % (the RDD paper's).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weights."""
    return presets.get_config(preset, ce=0.1, kd=0.9)
