"""Networks of your own: one of flax.linen and one of flax.nnx, distilled by the program without any registration.

    python -m rdd_jax.main --config=rdd --config.student.name=examples/own_network.py:linen_network
    python -m rdd_jax.main --config=rdd --config.student.name=examples/own_network.py:nnx_network \
        --config.student.kwargs.width=32 --workdir=runs/nnx

The program calls the function after the colon with the number of classes and --config.student.kwargs. The teacher is
given in the same way, by --config.teacher.name and --config.teacher.kwargs. The run remembers the file: all modes work
with `--workdir` alone, as in

    python -m rdd_jax.main --mode=export --workdir=runs/nnx
"""

import flax.linen as nn
import jax
from flax import nnx

from rdd_jax import models


class LinenNetwork(nn.Module):
    """Two convolutions with batch norm, then dropout; returns logits f32[b,classes]."""

    num_classes: int
    width: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Takes images f32[b,h,w,c]."""
        x = images
        for stage in (1, 2):
            x = nn.Conv(stage * self.width, (3, 3), strides=stage, name=f"conv{stage}")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name=f"norm{stage}")(x))
        x = nn.Dropout(0.1, deterministic=not train, name="dropout")(x.mean((1, 2)))
        return nn.Dense(self.num_classes, name="head")(x)


class NnxNetwork(nnx.Module):
    """The same in nnx; whether it trains is set by its `train()` and `eval()`."""

    def __init__(self, num_classes: int, channels: int, width: int, *, rngs: nnx.Rngs):
        widths = (channels, width, 2 * width)
        self.convs = nnx.List([nnx.Conv(widths[i], widths[i + 1], (3, 3), strides=i + 1, rngs=rngs) for i in range(2)])
        self.norms = nnx.List([nnx.BatchNorm(features, momentum=0.9, rngs=rngs) for features in widths[1:]])
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(2 * width, num_classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Takes images f32[b,h,w,c]."""
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(norm(conv(x)))
        return self.head(self.dropout(x.mean((1, 2))))


def linen_network(num_classes: int, width: int = 16) -> models.Network:
    """Makes the linen network; its embedding and feature maps are the outputs of submodules, by their paths."""
    module = LinenNetwork(num_classes, width)
    return models.from_linen(module, embedding="dropout", feature_maps=("norm1", "norm2"))


def nnx_network(num_classes: int, width: int = 16, channels: int = 1) -> models.Network:
    """Makes the nnx network, whose layers need the number of the images' channels."""
    return models.from_nnx(
        lambda rngs: NnxNetwork(num_classes, channels, width, rngs=rngs),
        embedding="dropout",
        feature_maps=("norms/0", "norms/1"),
    )
