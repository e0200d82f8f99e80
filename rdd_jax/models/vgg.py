"""The networks of Simonyan and Zisserman (2015) with batch norm and one linear layer, as RepDistiller has them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv

_WIDTHS = (64, 128, 256, 512, 512)
# The depth counts the convolutions and the paper's three linear layers, of which one is left.
_CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions; takes images of 8x8 pixels and more, with any number of channels.

    num_classes: of the logits.
    depth: 8, 11, 13, 16 or 19.
    axis_name: the mapped axis over which batch norm is synchronised in training; None where there is but one device.
    dtype: of the computation; parameters, statistics, embedding and logits stay float32.
    """

    num_classes: int
    depth: int
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """f[b,h,w,c] -> ModelOutput, with the maps of each block."""
        side = min(images.shape[1:3])
        if side < 8:
            raise ValueError(f"vgg{self.depth} needs images of 8x8 pixels and more, not {images.shape}")
        pools = 4 if side >= 64 else 3
        x, maps = images, []
        for block, (width, convolutions) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[self.depth], strict=True)):
            if 0 < block <= pools:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            for i in range(convolutions):  # In torch's sequence, convolution 3i, batch norm 3i + 1, rectifier 3i + 2.
                x = conv(width, 3, use_bias=True, dtype=self.dtype, name=f"block{block}_{3 * i}")(x)
                x = batch_norm(train, self.axis_name, dtype=self.dtype, name=f"block{block}_{3 * i + 1}")(x)
                x = nn.relu(x)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="classifier"), embedding, tuple(maps))
