"""Networks by name or by the user's factory."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from rdd_jax.core import user_code
from rdd_jax.core.errors import UserError
from rdd_jax.core.types import ModelOutput
from rdd_jax.models.linen_network import from_linen
from rdd_jax.models.network import Network, Variables, synchronized
from rdd_jax.models.nnx_network import from_nnx
from rdd_jax.models.registry import create


def create_network(
    name: str, num_classes: int, *, axis_name: str | None = None, dtype: DTypeLike = jnp.float32, **kwargs: Any
) -> Network:
    """Creates a network.

    Args:
        name: a key of MODELS, or the user's factory as FILE.py:FACTORY or package.module:FACTORY. The factory is called
            with `num_classes` and `kwargs`, and with `dtype` and `axis_name` if it has such arguments. It returns a
            linen module or a Network; or an nnx module, if it has an argument `rngs`.
        num_classes: the number of logits.
        axis_name: the mapped axis over which batch norm is synchronised in training. The updated collections of the
            user's networks are averaged over it; see `synchronized`.
        dtype: of the computation; parameters are float32.
        **kwargs: sizes that the name leaves open, or further arguments of the factory.

    Raises:
        UserError: where the factory is missing, fails, has no such argument, or returns something else.
        ValueError: for an unknown name or size.
    """
    if not user_code.is_reference(name):
        return from_linen(create(name, num_classes, axis_name=axis_name, dtype=dtype, **kwargs))
    factory = user_code.load(name)
    parameters = _parameters(factory)
    given = {"num_classes": num_classes, **kwargs}
    given |= {key: value for key, value in {"dtype": dtype, "axis_name": axis_name}.items() if key in parameters}
    short = user_code.short_name(name)
    _check_arguments(short, parameters, given, dtype)
    make = partial(factory, **given)
    with user_code.as_user_error(short, flax.errors.FlaxError):
        if "rngs" in parameters:
            kinds: list[type] = []
            jax.eval_shape(lambda: kinds.append(type(make(rngs=nnx.Rngs(0)))))
            if not issubclass(kinds[0], nnx.Module):
                raise UserError(f"{short} takes rngs and must return an nnx module; got {kinds[0].__name__}")
            return synchronized(from_nnx(lambda rngs: make(rngs=rngs)), axis_name)
        made = make()
    if isinstance(made, nnx.Module):
        raise UserError(f"{short} returns an nnx module: give it an argument rngs, of which the weights are drawn")
    if isinstance(made, nn.Module):
        made = from_linen(made)
    if not isinstance(made, Network):
        raise UserError(f"{short} must return a linen module, an nnx module or a Network; got {type(made).__name__}")
    return synchronized(made, axis_name)


def check_network(name: str, num_classes: int, image_shape: tuple[int, int, int], **kwargs: Any) -> None:
    """Runs a network of the user's own for shapes alone, in evaluation and in training; nothing is computed.

    Args:
        name: as of `create_network`.
        num_classes: as of `create_network`.
        image_shape: (height, width, channels).
        **kwargs: as of `create_network`.

    Raises:
        UserError: where it fails or its output does not fit, and as `create_network`.
    """
    if not user_code.is_reference(name):
        return
    network = create_network(name, num_classes, **kwargs)
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    short = user_code.short_name(name)
    with user_code.as_user_error(f"{short}, for images of {image_shape},", flax.errors.FlaxError):
        variables = jax.eval_shape(network.init, jax.random.key(0), images)
        for train in (False, True):
            apply = partial(network.apply, train=train, rngs={"default": jax.random.key(0)})
            output, updated = jax.eval_shape(apply, variables, images)
            _check_output(short, output, num_classes)
            _check_updated(short, updated, variables)


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a function or class by name."""
    is_nnx = inspect.isclass(factory) and issubclass(factory, nnx.Module)  # Whose signature is (*args, **kwargs).
    parameters = dict(inspect.signature(factory.__init__ if is_nnx else factory).parameters)
    return {name: parameter for name, parameter in parameters.items() if name != "self"}


def _check_arguments(
    name: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], dtype: DTypeLike
) -> None:
    """Raises UserError unless a factory takes the arguments that it is given, and is given those that it needs."""
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = sorted(given.keys() - parameters.keys())
    if unknown and not takes_any:
        raise UserError(f'{name} has no argument "{unknown[0]}"; it has {", ".join(parameters) or "none"}')
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in {*given, "rngs"}
    ]
    if missing:
        raise UserError(f"{name} needs its argument {missing[0]}: give it by kwargs.{missing[0]}=VALUE")
    if jnp.dtype(dtype) != jnp.float32 and "dtype" not in given:
        raise UserError(f"{name} has no argument dtype: give it one, or leave out --config.dtype={jnp.dtype(dtype)}")


def _check_output(name: str, output: Any, num_classes: int) -> None:
    """Raises UserError unless an output for two images is a ModelOutput of that many classes."""
    if not isinstance(output, ModelOutput):
        raise UserError(f"{name} must return a ModelOutput; got {type(output).__name__}")
    shapes = [jnp.shape(leaf) for leaf in (output.logits, output.embedding)]
    if shapes[0] != (2, num_classes):
        raise UserError(
            f"{name} returns logits of shape {shapes[0]} for 2 images, and the data have {num_classes} classes: "
            f"(2, {num_classes}) is needed"
        )
    if len(shapes[1]) != 2 or any(leaf.shape[:1] != (2,) for leaf in jax.tree.leaves(output)):
        raise UserError(
            f"{name} returns an embedding of shape {shapes[1]} and feature maps of "
            f"{[leaf.shape for leaf in output.feature_maps]} for 2 images: (2, d) and (2, ...) are needed"
        )


def _check_updated(name: str, updated: Any, variables: Variables) -> None:
    """Raises UserError unless the updated collections have the shapes of the variables."""
    before = {key: variables.get(key) for key in updated}
    if "params" in updated or jax.tree.map(jnp.shape, updated) != jax.tree.map(jnp.shape, before):
        raise UserError(f"{name} must return updated collections of the same shapes as before, without params")
