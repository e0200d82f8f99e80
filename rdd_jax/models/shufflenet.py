"""ShuffleNet (Zhang et al. 2018) and ShuffleNet V2 (Ma et al. 2018), in RepDistiller's variants for small images."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv

_STEM = 24
_GROUPS = 3


def channel_shuffle(x: jax.Array, groups: int) -> jax.Array:
    """Reorders the channels of f[b,h,w,c]: the first of every group, then the second of every group, and so on."""
    split = x.reshape(*x.shape[:-1], groups, -1)
    return jnp.swapaxes(split, -1, -2).reshape(x.shape)


class GroupBottleneck(nn.Module):
    """ShuffleNet's block: grouped 1x1, depthwise 3x3, grouped 1x1.

    The result is added to the inputs, or at stride 2 concatenated with their average.
    """

    width: int
    stride: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/stride,w/stride,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        features = self.width - (inputs.shape[-1] if self.stride == 2 else 0)
        narrow = features // 4
        groups = 1 if inputs.shape[-1] == _STEM else _GROUPS  # The stem has too few channels for groups.
        x = conv(narrow, 1, groups=groups, dtype=self.dtype, name="conv1")(inputs)
        x = channel_shuffle(nn.relu(norm(name="bn1")(x)), groups)
        x = conv(narrow, 3, self.stride, groups=narrow, dtype=self.dtype, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x))
        x = conv(features, 1, groups=_GROUPS, dtype=self.dtype, name="conv3")(x)
        x = norm(name="bn3")(x)
        if self.stride == 1:
            return nn.relu(x + inputs)
        # As in PyTorch, the zeros of the padding count in the average.
        shortcut = nn.avg_pool(inputs, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        return nn.relu(jnp.concatenate([x, shortcut], axis=-1))


class ShuffleNet(nn.Module):
    """ShuffleNet: a 1x1 stem and three stages that begin with stride 2, for images of any size and number of channels.

    num_classes: of the logits.
    widths: channels of the three stages.
    blocks: the number of blocks of each stage.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    widths: tuple[int, int, int] = (240, 480, 960)
    blocks: tuple[int, int, int] = (4, 8, 4)
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the stem and of each stage."""
        x = conv(_STEM, 1, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(batch_norm(train, self.axis_name, dtype=self.dtype, name="bn1")(x))
        maps = [x]
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True), start=1):
            for block in range(blocks):
                stride = 2 if block == 0 else 1
                x = GroupBottleneck(width, stride, self.axis_name, self.dtype, name=f"layer{stage}_{block}")(x, train)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="linear"), embedding, tuple(maps))


class DownBlock(nn.Module):
    """Two branches of stride 2, each to half of the width, concatenated and shuffled."""

    width: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/2,w/2,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        channels, half = inputs.shape[-1], self.width // 2
        left = conv(channels, 3, 2, groups=channels, dtype=self.dtype, name="conv1")(inputs)
        left = conv(half, 1, dtype=self.dtype, name="conv2")(norm(name="bn1")(left))
        left = nn.relu(norm(name="bn2")(left))
        right = conv(half, 1, dtype=self.dtype, name="conv3")(inputs)
        right = nn.relu(norm(name="bn3")(right))
        right = conv(half, 3, 2, groups=half, dtype=self.dtype, name="conv4")(right)
        right = conv(half, 1, dtype=self.dtype, name="conv5")(norm(name="bn4")(right))
        right = nn.relu(norm(name="bn5")(right))
        return channel_shuffle(jnp.concatenate([left, right], axis=-1), 2)


class SplitBlock(nn.Module):
    """1x1, depthwise 3x3 and 1x1 of the second half of the channels, shuffled with the first half."""

    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h,w,c]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        left, x = jnp.split(inputs, 2, axis=-1)
        half = x.shape[-1]
        x = conv(half, 1, dtype=self.dtype, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x))
        x = conv(half, 3, groups=half, dtype=self.dtype, name="conv2")(x)
        x = conv(half, 1, dtype=self.dtype, name="conv3")(norm(name="bn2")(x))
        x = nn.relu(norm(name="bn3")(x))
        return channel_shuffle(jnp.concatenate([left, x], axis=-1), 2)


class ShuffleNetV2(nn.Module):
    """ShuffleNet V2: a 1x1 stem, three stages that begin with stride 2, and a 1x1 convolution, for any images.

    num_classes: of the logits.
    widths: channels of the three stages and of the last convolution.
    blocks: the number of blocks of each stage after the one of stride 2.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    widths: tuple[int, int, int, int] = (116, 232, 464, 1024)
    blocks: tuple[int, int, int] = (3, 7, 3)
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the stem and of each stage."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(_STEM, 1, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(norm(name="bn1")(x))
        maps = [x]
        *widths, last = self.widths
        for stage, (width, blocks) in enumerate(zip(widths, self.blocks, strict=True), start=1):
            x = DownBlock(width, self.axis_name, self.dtype, name=f"layer{stage}_0")(x, train)
            for block in range(1, blocks + 1):
                x = SplitBlock(self.axis_name, self.dtype, name=f"layer{stage}_{block}")(x, train)
            maps.append(x)
        x = conv(last, 1, dtype=self.dtype, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x))
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="linear"), embedding, tuple(maps))
