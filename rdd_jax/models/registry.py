"""The networks by name: linen modules that return a `ModelOutput`."""

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.models.imagenet_resnet import ImageNetResNet
from rdd_jax.models.linen_network import as_network
from rdd_jax.models.mobilenet import MobileNetV2
from rdd_jax.models.network import Network, Variables
from rdd_jax.models.resnet import ResNet
from rdd_jax.models.shufflenet import ShuffleNet, ShuffleNetV2
from rdd_jax.models.vgg import VGG
from rdd_jax.models.wrn import WideResNet

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}  # Of computations, by name.
_WIDE = (32, 64, 128, 256)

# (*, num_classes, axis_name, dtype, **sizes) -> a module of images f[b,h,w,c] and `train`.
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
# Arguments of a factory that are not a network's sizes: those of `create`, and the fields of every Flax module.
_COMMON = {"num_classes", "axis_name", "dtype", "parent", "name"}


def create(
    name: str, num_classes: int, *, axis_name: str | None = None, dtype: DTypeLike = jnp.float32, **kwargs: Any
) -> nn.Module:
    """Creates a network by name: `apply(variables, images, train=...)` returns a `ModelOutput`.

    Args:
        name: a key of MODELS.
        num_classes: the number of logits.
        axis_name: the mapped axis over which batch norm is synchronised in training.
        dtype: of the computation; parameters are float32.
        **kwargs: sizes that the name leaves open, such as `widths` of "resnet8".

    Raises:
        ValueError: for an unknown name, or a size that the network does not have.
    """
    if name not in MODELS:
        raise ValueError(unknown_name_message("model", name, MODELS))
    factory = MODELS[name]
    parameters = inspect.signature(factory).parameters
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values()):
        fixed = factory.keywords if isinstance(factory, functools.partial) else {}
        sizes = [parameter for parameter in parameters if parameter not in _COMMON and parameter not in fixed]
        unknown = sorted(set(kwargs) - set(sizes))
        if unknown:
            raise ValueError(f'model {name} has no argument "{unknown[0]}"; it has {", ".join(sizes) or "none"}')
    return factory(num_classes=num_classes, axis_name=axis_name, dtype=dtype, **kwargs)


def init(network: Network | nn.Module, rng: jax.Array, image_shape: tuple[int, ...]) -> Variables:
    """Creates variables for images of that (height, width, channels), in float32."""
    return as_network(network).init(rng, jnp.zeros((1, *image_shape)))


def variable_shapes(network: Network | nn.Module, image_shape: tuple[int, ...]) -> Variables:
    """Returns the shapes of the result of `init`, without computing it."""
    return jax.eval_shape(lambda: init(network, jax.random.key(0), image_shape))
