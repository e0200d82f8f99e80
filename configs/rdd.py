"""Representational difference distillation (Irakiza & Mugisha 2026), the paper's objective: 1.0 CE + 0.9 KD + 0.8 RDD.

    python -m rdd_jax.main --config=configs/rdd.py[:PRESET]

Section 2.3 of the paper has the objective w_ce L_CE + w_kd L_KD + w_rdd L_RDD, and section 3 the weights. docs/rdd.md
quotes both. The contrastive term without KD is configs/rdd_alone.py.

Published for cifar100: 75.58 % (the paper's).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """The paper's weights; the preset sets the sizes and when to mine."""
    return presets.get_config(preset, ce=1.0, kd=0.9, rdd=0.8)
