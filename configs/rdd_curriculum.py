"""RDX as a curriculum (Irakiza & Mugisha 2026): KD on the images that student and teacher agree about, then on all.

    python -m rdd_jax.main --config=configs/rdd_curriculum.py[:PRESET]

The first epoch visits the easiest 30 % by RDX; the share grows to all over the first 40 % of the epochs (100 of 240).
Published for cifar100: 72.96 % (the paper's; KD 72.93 %).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """KD's weights; the sampler goes with any method."""
    config = presets.get_config(preset, ce=0.1, kd=0.9)
    config.sampler.kind = "curriculum"
    return config
