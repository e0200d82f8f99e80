"""PS-KD (Kim et al. 2021), without a teacher: the target is the label with a growing share of the own past prediction.

    python -m rdd_jax.main --config=configs/ps_kd.py[:PRESET]

As for `configs/ce.py`, no teacher is trained.

Published for CIFAR-100 with PreAct ResNet-18: 79.18 %, cross-entropy 75.82 % (the paper).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The paper's share of 0.8 in the last epoch; the labels are part of the target, and not a second term."""
    return presets.get_config(preset, ce=0.0, ps_kd=1.0)
