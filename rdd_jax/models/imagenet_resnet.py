"""The residual networks of ImageNet (He et al. 2016), with torchvision's names, and their kin for small images.

From 64 pixels on they are torchvision's, parameter by parameter. Below, a 3x3 stem takes the place of ImageNet's, which
would leave a quarter of each side, as in kuangliu's networks for CIFAR; resnet50 then has RepDistiller's names.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv
from rdd_jax.models.resnet import BasicBlock, add_shortcut

_LARGE = 64  # The height in pixels from which an image gets ImageNet's stem.


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, and a shortcut, which is projected where the shape changes.

    shortcut: what the names of the projection begin with.
    """

    width: int
    stride: int
    axis_name: str | None
    dtype: Any
    shortcut: str

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """f[b,h,w,c] -> f[b,h/stride,w/stride,4*width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(self.width, 1, dtype=self.dtype, name="conv1")(inputs)
        x = nn.relu(norm(name="bn1")(x))
        # The stride is here and not in conv1, where the paper has it: so do torchvision ("v1.5") and RepDistiller.
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x))
        x = conv(4 * self.width, 1, dtype=self.dtype, name="conv3")(x)
        x = norm(name="bn3")(x)
        return add_shortcut(x, inputs, self.stride, norm, dtype=self.dtype, name=self.shortcut)


class ImageNetResNet(nn.Module):
    """A stem by the height of the images and four stages of blocks; takes images of any size and channel count.

    From 64 pixels on it is a 7x7 convolution and a pooling, each of stride 2; below, a 3x3 convolution.

    num_classes: of the logits.
    blocks: of each stage.
    bottlenecks: of which the stages are made, instead of basic blocks.
    axis_name: the mapped axis over which batch norm is synchronised in training; None where there is but one device.
    dtype: of the computation; parameters, statistics, embedding and logits stay float32.
    """

    num_classes: int
    blocks: tuple[int, int, int, int]
    bottlenecks: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """f[b,h,w,c] -> ModelOutput, with the maps of the stem, pooled, and of each stage."""
        is_large = images.shape[1] >= _LARGE
        as_repdistiller = self.bottlenecks and not is_large  # It has a resnet50, for small images, but no resnet18.
        shortcut, last = ("shortcut", "linear") if as_repdistiller else ("downsample", "fc")
        make_block = partial(Bottleneck, shortcut=shortcut) if self.bottlenecks else BasicBlock

        kernel, stride = (7, 2) if is_large else (3, 1)
        x = conv(64, kernel, stride, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(batch_norm(train, self.axis_name, dtype=self.dtype, name="bn1")(x))
        if is_large:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        maps = [x]
        for stage, blocks in enumerate(self.blocks, start=1):
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                width = 32 * 2**stage
                x = make_block(width, stride, self.axis_name, self.dtype, name=f"layer{stage}_{block}")(x, train)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name=last), embedding, tuple(maps))
