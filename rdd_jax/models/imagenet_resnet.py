"""Residual networks for ImageNet (He et al. 2016), with torchvision's names, and their variants for small images.

From 64 pixels on they equal torchvision's, parameter by parameter. For smaller images the stem, which would reduce each
side to a quarter, is a 3x3 convolution, as in kuangliu's networks for CIFAR; resnet50 then has RepDistiller's names.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv
from rdd_jax.models.resnet import BasicBlock, add_shortcut

_LARGE = 64  # The height in pixels from which the stem is that of ImageNet.


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions, the last to four times the width.

    shortcut: the prefix of the names of the projection, which is applied where the shape changes.
    """

    width: int
    stride: int
    axis_name: str | None
    dtype: DTypeLike
    shortcut: str

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/stride,w/stride,4*width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(self.width, 1, dtype=self.dtype, name="conv1")(inputs)
        x = nn.relu(norm(name="bn1")(x))
        # As in torchvision ("v1.5") and RepDistiller, the stride is here; in the paper it is in conv1.
        x = conv(self.width, 3, self.stride, dtype=self.dtype, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x))
        x = conv(4 * self.width, 1, dtype=self.dtype, name="conv3")(x)
        x = norm(name="bn3")(x)
        return add_shortcut(x, inputs, self.stride, norm, dtype=self.dtype, name=self.shortcut)


class ImageNetResNet(nn.Module):
    """ImageNet ResNet: a stem and four stages of blocks, for images of any size and number of channels.

    The stem is a 7x7 convolution and a max-pooling, both of stride 2, for a height of at least 64 pixels; otherwise it
    is a 3x3 convolution.

    num_classes: of the logits.
    blocks: the number of blocks of each stage.
    bottlenecks: whether the blocks are bottlenecks instead of basic blocks.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    blocks: tuple[int, int, int, int]
    bottlenecks: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the stem, pooled, and of each stage."""
        is_large = images.shape[1] >= _LARGE
        as_repdistiller = self.bottlenecks and not is_large  # It has no resnet18.
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
