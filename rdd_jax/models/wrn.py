"""The wide residual networks (Zagoruyko and Komodakis 2016), with RepDistiller's names and widths."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv


class PreactivationBlock(nn.Module):
    """Two 3x3 convolutions, each after its batch norm, and a shortcut, which is projected where the width changes."""

    width: int
    stride: int
    axis_name: str | None
    dtype: Any

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = nn.relu(norm(name="bn1")(inputs))
        shortcut = inputs
        if inputs.shape[-1] != self.width:  # Then both branches are normalised first.
            shortcut = conv(self.width, 1, self.stride, dtype=self.dtype, name="convShortcut")(x)
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv1")(x)
        x = nn.relu(norm(name="bn2")(x))
        return shortcut + conv(self.width, 3, dtype=self.dtype, name="conv2")(x)


class WideResNet(nn.Module):
    """A stem and three stages of pre-activation blocks; takes images of any size and channel count.

    num_classes: of the logits.
    depth: 6n + 4, with n blocks a stage.
    widening: of the three stages' 16, 32 and 64 channels; the stem has 16.
    axis_name: the mapped axis over which batch norm is synchronised in training; None where there is but one device.
    dtype: of the computation; parameters, statistics, embedding and logits stay float32.
    """

    num_classes: int
    depth: int
    widening: int
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """f[b,h,w,c] -> ModelOutput, with the maps of the stem and of each stage, unrectified."""
        x = conv(16, 3, dtype=self.dtype, name="conv1")(images)
        maps = [x]
        for stage, width in enumerate((16, 32, 64), start=1):
            for block in range((self.depth - 4) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                x = PreactivationBlock(
                    self.widening * width, stride, self.axis_name, self.dtype, name=f"block{stage}_layer_{block}"
                )(x, train)
            maps.append(x)
        x = nn.relu(batch_norm(train, self.axis_name, dtype=self.dtype, name="bn1")(x))
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="fc"), embedding, tuple(maps))
