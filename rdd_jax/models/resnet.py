"""Residual networks for CIFAR (He et al. 2016), with RepDistiller's names and widths."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv


def add_shortcut(
    x: jax.Array, inputs: jax.Array, stride: int, norm: Callable[..., nn.Module], *, dtype: DTypeLike, name: str
) -> jax.Array:
    """Ends a residual block: relu(x + inputs), f[b,h,w,c]. Call it inside a compact method.

    Args:
        x: f[b,h,w,c], the output of the block's layers.
        inputs: f[b,h*stride,w*stride,d]; projected by a 1x1 convolution and batch norm if the shapes differ.
        stride: of the projection.
        norm: makes a batch norm, given a name.
        dtype: of the computation.
        name: the projection's submodules are `<name>_0` and `<name>_1`.
    """
    if inputs.shape != x.shape:
        inputs = conv(x.shape[-1], 1, stride, dtype=dtype, name=f"{name}_0")(inputs)
        inputs = norm(name=f"{name}_1")(inputs)
    return nn.relu(x + inputs)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions. The shortcut is projected where the shape changes."""

    width: int
    stride: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/stride,w/stride,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv1")(inputs)
        x = nn.relu(norm(name="bn1")(x))
        x = conv(self.width, 3, dtype=self.dtype, name="conv2")(x)
        x = norm(name="bn2")(x)
        return add_shortcut(x, inputs, self.stride, norm, dtype=self.dtype, name="downsample")


class ResNet(nn.Module):
    """CIFAR ResNet: a stem and three stages of basic blocks, for images of any size and number of channels.

    num_classes: of the logits.
    depth: 6n + 2, for n blocks per stage.
    widths: channels of the stem and of the three stages.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    depth: int
    widths: tuple[int, int, int, int] = (16, 16, 32, 64)
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the stem and of each stage."""
        x = conv(self.widths[0], 3, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(batch_norm(train, self.axis_name, dtype=self.dtype, name="bn1")(x))
        maps = [x]
        for stage, width in enumerate(self.widths[1:], start=1):
            for block in range((self.depth - 2) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                x = BasicBlock(width, stride, self.axis_name, self.dtype, name=f"layer{stage}_{block}")(x, train)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="fc"), embedding, tuple(maps))
