"""VGG networks (Simonyan & Zisserman 2015) with batch norm and one linear layer, as in RepDistiller."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.types import ModelOutput
from rdd_jax.models.layers import batch_norm, classifier, conv

_WIDTHS = (64, 128, 256, 512, 512)
# By depth, which counts the convolutions and the paper's three linear layers; here there is one.
_CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """VGG: five blocks of 3x3 convolutions, for images of at least 8x8 pixels with any number of channels.

    num_classes: of the logits.
    depth: 8, 11, 13, 16 or 19.
    axis_name: the mapped axis over which batch norm is synchronised in training, or None for one device.
    dtype: of the computation; parameters, statistics, embedding and logits are float32.
    """

    num_classes: int
    depth: int
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> ModelOutput:
        """Applies the network to f[b,h,w,c]. The feature maps are those of the blocks.

        Raises:
            ValueError: for images of less than 8 pixels a side.
        """
        side = min(images.shape[1:3])
        if side < 8:
            raise ValueError(f"vgg{self.depth} needs images of 8x8 pixels and more, not {images.shape}")
        pools = 4 if side >= 64 else 3
        x, maps = images, []
        for block, (width, convolutions) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[self.depth], strict=True)):
            if 0 < block <= pools:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            for i in range(convolutions):  # In PyTorch's nn.Sequential: convolution 3i, batch norm 3i + 1, ReLU 3i + 2.
                x = conv(width, 3, use_bias=True, dtype=self.dtype, name=f"block{block}_{3 * i}")(x)
                x = batch_norm(train, self.axis_name, dtype=self.dtype, name=f"block{block}_{3 * i + 1}")(x)
                x = nn.relu(x)
            maps.append(x)
        embedding = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return ModelOutput(classifier(embedding, self.num_classes, name="classifier"), embedding, tuple(maps))
