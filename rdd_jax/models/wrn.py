"""Wide residual networks (Zagoruyko & Komodakis 2016), with RepDistiller's names and widths."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv


class PreactivationBlock(nn.Module):
    """Residual block of two 3x3 convolutions after batch norms. The shortcut is projected where the width changes."""

    width: int
    stride: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/stride,w/stride,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = nn.relu(norm(name="bn1")(inputs))
        shortcut = inputs
        if inputs.shape[-1] != self.width:  # Then the shortcut starts after the batch norm too.
            shortcut = conv(self.width, 1, self.stride, dtype=self.dtype, name="convShortcut")(x)
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv1")(x)
        x = nn.relu(norm(name="bn2")(x))
        return shortcut + conv(self.width, 3, dtype=self.dtype, name="conv2")(x)


class WideResNet(nn.Module):
    """Wide ResNet: a stem and three stages of pre-activation blocks, for images of any size and number of channels.

    num_classes: of the logits.
    depth: 6n + 4, for n blocks per stage.
    widening: the factor of the stages' 16, 32 and 64 channels; the stem has 16.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    depth: int
    widening: int
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the stem and of each stage, before ReLU."""
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
