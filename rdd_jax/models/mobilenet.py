"""MobileNetV2 (Sandler et al. 2018) at half width, in RepDistiller's variant for small images."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv

# For each stage: expansion, channels (half the paper's), blocks, stride of the first block.
_STAGES = (
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)
_FEATURE_STAGES = (1, 2, 4, 6)  # The stages whose outputs are feature maps.


class InvertedResidual(nn.Module):
    """Inverted residual block: 1x1 to more channels, depthwise 3x3, 1x1 to `width` without ReLU.

    The inputs are added if they have the shape of the output.
    """

    expansion: int
    width: int
    stride: int
    axis_name: str | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps f[b,h,w,c] to f[b,h/stride,w/stride,width]."""
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        wide = self.expansion * inputs.shape[-1]
        x = conv(wide, 1, dtype=self.dtype, name="conv_0")(inputs)
        x = nn.relu(norm(name="conv_1")(x))
        x = conv(wide, 3, self.stride, groups=wide, dtype=self.dtype, name="conv_3")(x)
        x = nn.relu(norm(name="conv_4")(x))
        x = conv(self.width, 1, dtype=self.dtype, name="conv_6")(x)
        x = norm(name="conv_7")(x)
        return inputs + x if self.stride == 1 and inputs.shape[-1] == self.width else x


class MobileNetV2(nn.Module):
    """MobileNetV2: a stem of stride 2, seven stages of inverted residuals and a 1x1 convolution, for any images.

    num_classes: of the logits.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c].

        The feature maps are those of the stem, after its ReLU, and of four stages, which have none.
        """
        norm = partial(batch_norm, train, self.axis_name, dtype=self.dtype)
        x = conv(16, 3, 2, dtype=self.dtype, name="conv1_0")(images)
        x = nn.relu(norm(name="conv1_1")(x))
        maps = [x]
        for stage, (expansion, width, blocks, stride) in enumerate(_STAGES):
            for block in range(blocks):
                x = InvertedResidual(
                    expansion,
                    width,
                    stride if block == 0 else 1,
                    self.axis_name,
                    self.dtype,
                    name=f"blocks_{stage}_{block}",
                )(x, train)
            if stage in _FEATURE_STAGES:
                maps.append(x)
        x = conv(1280, 1, dtype=self.dtype, name="conv2_0")(x)
        x = nn.relu(norm(name="conv2_1")(x))
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="classifier_0"), embedding, tuple(maps))
