"""The networks by name: modules whose `apply` returns a ModelOutput."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.models.imagenet_resnet import ImageNetResNet
from rdd_jax.models.mobilenet import MobileNetV2
from rdd_jax.models.resnet import ResNet
from rdd_jax.models.shufflenet import ShuffleNet, ShuffleNetV2
from rdd_jax.models.vgg import VGG
from rdd_jax.models.wrn import WideResNet

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}  # of computation, by name
_WIDE = (32, 64, 128, 256)

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": partial(ResNet, depth=depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": partial(ResNet, depth=depth, widths=_WIDE) for depth in (8, 32)},
    "resnet18": partial(ImageNetResNet, blocks=(2, 2, 2, 2)),
    "resnet34": partial(ImageNetResNet, blocks=(3, 4, 6, 3)),
    "resnet50": partial(ImageNetResNet, blocks=(3, 4, 6, 3), bottlenecks=True),
    **{f"wrn_{depth}_{k}": partial(WideResNet, depth=depth, widening=k) for depth in (16, 40) for k in (1, 2)},
    **{f"vgg{depth}": partial(VGG, depth=depth) for depth in (8, 11, 13, 16, 19)},
    "mobilenetv2": MobileNetV2,
    "shufflev1": ShuffleNet,
    "shufflev2": ShuffleNetV2,
}


def create(name: str, num_classes: int, *, axis_name: str | None = None, dtype: Any = jnp.float32) -> nn.Module:
    """The network of that name: `apply(variables, images, train=...) -> ModelOutput`.

    Args:
        name: a key of MODELS.
        num_classes: of the logits.
        axis_name: the mapped axis over which batch norm is synchronised in training.
        dtype: of the computation; parameters stay float32.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in MODELS:
        raise ValueError(unknown_name_message("model", name, MODELS))
    return MODELS[name](num_classes=num_classes, axis_name=axis_name, dtype=dtype)


def init(model: nn.Module, rng: jax.Array, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Fresh variables {"params", "batch_stats"} for images of that (height, width, channels), in float32."""
    return model.init(rng, jnp.zeros((1, *image_shape)), train=False)


def variable_shapes(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The shapes of what `init` returns, without computing it."""
    return jax.eval_shape(lambda: init(model, jax.random.key(0), image_shape))
