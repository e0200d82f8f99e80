"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) on the device."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from rdd_jax.core.collectives import fold_into_keys
from rdd_jax.core.types import Array, Batch
from rdd_jax.data.erasing import rectangle

# Tells the keys of mixing from other keys that are derived from those of a batch's rows.
_STREAM = 0x6D697865


@dataclass(frozen=True)
class Mixing:
    """Mixes each image of a batch with that of the neighbouring row: row i with i + 1 for even i, else with i - 1.

    In a shuffled batch the neighbour is a random image. Each row draws a share from Beta(alpha, alpha), and its own
    image has that share of the mixture or the rest, whichever is larger. As the two rows of a pair mix with each other,
    the mixtures are distributed as by the share itself. The image with the larger share remains the one of
    `batch.labels` and `batch.indices`.

    mixup: alpha, with which images are averaged; 0 for no mixup.
    cutmix: alpha, with which a rectangle is cut out of the other image; 0 for no CutMix. Where both are above 0, each
        image is mixed by one or the other, with probability 1/2.
    num_classes: of the soft labels.
    """

    mixup: float
    cutmix: float
    num_classes: int

    def __call__(self, batch: Batch, keys: Array) -> Batch:
        """Returns the batch with mixed inputs f32[b,h,w,c] and with `soft_labels` f32[b,num_classes].

        The soft label has the share of the pixels that are the image's own, and the rest for the other image's label.

        Args:
            batch: inputs f32[b,h,w,c], augmented and normalised, with an even number of rows.
            keys: typed PRNG keys [b].

        Raises:
            ValueError: if the number of rows is odd.
        """
        images = batch.inputs
        if len(images) % 2:
            raise ValueError(f"mixing needs pairs, an even number of rows; got images {images.shape}")
        own = jax.vmap(partial(self._own_shares, images.shape[1:3]))(fold_into_keys(keys, _STREAM))
        labels = jax.nn.one_hot(batch.labels, self.num_classes)
        return batch._replace(inputs=_mix(images, own[..., None]), soft_labels=_mix(labels, own.mean((1, 2))[:, None]))

    def _own_shares(self, shape: tuple[int, int], key: Array) -> Array:
        """Draws the share f32[h,w] that an image has in each pixel of the mixture."""
        choice, mixup_key, cutmix_key = jax.random.split(key, 3)
        if not self.cutmix:
            return _averaged(mixup_key, self.mixup, shape)
        if not self.mixup:
            return _cut(cutmix_key, self.cutmix, shape)
        both = _averaged(mixup_key, self.mixup, shape), _cut(cutmix_key, self.cutmix, shape)
        return jnp.where(jax.random.bernoulli(choice), *both)


def _averaged(key: Array, alpha: float, shape: tuple[int, int]) -> Array:
    """Draws the shares of mixup, equal in all pixels."""
    return jnp.full(shape, _larger_share(key, alpha))


def _cut(key: Array, alpha: float, shape: tuple[int, int]) -> Array:
    """Draws the shares of CutMix: 0 in a rectangle with the image's aspect ratio, whose centre is uniform, else 1.

    Parts of the rectangle may lie outside of the image.
    """
    share_key, place_key = jax.random.split(key)
    side = jnp.sqrt(1 - _larger_share(share_key, alpha))
    # Rounded down, so that the rectangle has at most half of the area.
    size = jnp.floor(side * jnp.array(shape))
    corner = jnp.floor(jax.random.uniform(place_key, (2,)) * jnp.array(shape)) - size // 2
    return 1.0 - rectangle(shape, *corner, *size)


def _larger_share(key: Array, alpha: float) -> Array:
    share = jax.random.beta(key, alpha, alpha)
    return jnp.maximum(share, 1 - share)


def _mix(rows: Array, own: Array) -> Array:
    """Returns own * rows + (1 - own) * the neighbours, f32[b,...]."""
    pairs = rows.reshape(-1, 2, *rows.shape[1:])
    return own * rows + (1 - own) * pairs[:, ::-1].reshape(rows.shape)
