"""The ResNet-50 of ImageNet (He et al. 2016) with a stem for small images, as RepDistiller has it."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.models.layers import batch_norm, classifier, conv
from rdd_jax.types import Features, Outputs


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, and a shortcut, which is projected where the shape changes."""

    width: int
    stride: int
    axis_name: str | None
    dtype: Any

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,4*width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(self.width, 1, dtype=self.dtype, name="conv1")(inputs)
        x = nn.relu(norm(name="bn1")(x))
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x))
        x = conv(4 * self.width, 1, dtype=self.dtype, name="conv3")(x)
        x = norm(name="bn3")(x)
        shortcut = inputs
        if inputs.shape != x.shape:
            shortcut = conv(4 * self.width, 1, self.stride, dtype=self.dtype, name="shortcut_0")(inputs)
            shortcut = norm(name="shortcut_1")(shortcut)
        return nn.relu(x + shortcut)


class BottleneckResNet(nn.Module):
    """A 3x3 stem and four stages of bottlenecks; takes images of any size and channel count.

    num_classes: of the logits.
    blocks: of each stage.
    axis_name: the mapped axis over which batch norm is synchronised in training; None where there is but one device.
    dtype: of the computation; parameters, statistics, embedding and logits stay float32.
    """

    num_classes: int
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> Outputs:
        """f[b,h,w,c] -> (logits f32[b,classes], Features), with the maps of the stem and of each stage."""
        x = conv(64, 3, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(batch_norm(train, self.axis_name, dtype=self.dtype, name="bn1")(x))
        maps = [x]
        for stage, blocks in enumerate(self.blocks, start=1):
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                width = 32 * 2**stage
                x = Bottleneck(width, stride, self.axis_name, self.dtype, name=f"layer{stage}_{block}")(x, train)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return classifier(embedding, self.num_classes, name="linear"), Features(tuple(maps), embedding)
