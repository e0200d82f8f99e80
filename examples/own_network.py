"""Distils a network of your own: a Flax module as the student of the program's RDD run.

    python -m rdd_jax.main --config=examples/own_network.py

A network takes images f32[b,h,w,c] and returns a `ModelOutput`. It is registered under a name, and then used like the
networks of the package. This file is also a configuration file, so that the program registers the network when it reads
the configuration. Give the same --config, without --workdir, to the modes that read the run:

    python -m rdd_jax.main --config=examples/own_network.py --mode=evaluate

`main` below is the same run from Python.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from rdd_jax import ModelOutput, models
from rdd_jax.runs import presets
from rdd_jax.runs.config import RunConfig
from rdd_jax.training.run import train


class SmallConvNet(nn.Module):
    """Three convolutions with batch norm, global average pooling and a linear classifier.

    num_classes: number of logits.
    axis_name: mapped axis of the devices, over which batch norm averages in training; None for one device.
    dtype: type of the computation; parameters, embedding and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Returns logits, embedding and one feature map per convolution for images f[b,h,w,c]."""
        x, feature_maps = images, []
        for stage, width in enumerate((16, 32, 64)):
            x = nn.Conv(width, (3, 3), strides=2 if stage else 1, dtype=self.dtype, name=f"conv{stage}")(x)
            x = nn.BatchNorm(not train, axis_name=self.axis_name, dtype=self.dtype, name=f"bn{stage}")(x)
            x = nn.relu(x)
            feature_maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        logits = nn.Dense(self.num_classes, name="fc")(embedding)
        return ModelOutput(logits=logits, embedding=embedding, feature_maps=tuple(feature_maps))


models.MODELS["small_conv_net"] = SmallConvNet


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """Returns the configuration of RDD with the network above as the student. The program calls this function."""
    config = presets.get_config(preset, ce=1.0, kd=0.9, rdd=0.8)
    config.student.name = "small_conv_net"
    return config


def main(workdir: str = "runs/own-network", changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Trains the run, its teacher first, and returns the content of summary.json.

    Args:
        workdir: the run's folder; the teacher's is beside it.
        changes: keys of the configuration with other values, as in {"teacher.epochs": 1}.
    """
    config = RunConfig.from_dict(get_config("digits").to_dict()).replaced(changes or {})
    summary = train(config, Path(workdir))
    for role in ("teacher", "student"):
        network = summary[role]
        print(f"{role} {network['name']}: {network['parameters']:,} parameters, {network['accuracy']:.2f}%")
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    main(changes={"epochs": parser.parse_args().epochs})
