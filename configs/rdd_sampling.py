"""RDX as a sampler (Irakiza & Mugisha 2026): KD on the images that student and teacher agree about most.

    python -m rdd_jax.main --config=configs/rdd_sampling.py[:PRESET] [--config.sampler.kind=random]

Every epoch visits 15 % of the images, from the easiest to the hardest by RDX, ranked anew every few epochs. `random` is
its control: as many images at random. Published for cifar100: 59.49 % (the paper's; KD 72.93 %).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """KD's weights; the sampler goes with any method."""
    config = presets.get_config(preset, ce=0.1, kd=0.9)
    config.sampler.kind = "rdx"
    return config
