"""FitNets (Romero et al. 2015): cross-entropy + 100 squared error of an adapted map.

    python -m rdd_jax.main --config=configs/fitnets.py[:PRESET]

`--config.distill.fitnets.layer=1` takes another of the maps, of which 0 is the stem's.

Published for cifar100: 73.50 % (RepDistiller's table).
"""

from rdd_jax.runs import presets


def get_config(preset=""):
    """RepDistiller's weight."""
    return presets.get_config(preset, fitnets=100.0)
