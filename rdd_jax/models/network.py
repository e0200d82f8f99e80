"""The interface of networks, whatever library they are written in: two pure functions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rdd_jax.core.collectives import mean_over_devices
from rdd_jax.core.types import Array, ModelOutput

# {"params": the trained arrays, any other name: a collection that is not trained, such as "batch_stats"}.
Variables = dict[str, Any]

# The arguments by which modules are told that they train, and those that say the opposite.
_TRAINING = ("train", "training", "is_training")
_EVALUATING = ("deterministic", "use_running_average")


class InitNetwork(Protocol):
    """The `init` of a network."""

    def __call__(self, rng: Array, example: Any, /) -> Variables:
        """Creates the variables; it also works under `jax.eval_shape`.

        Args:
            rng: a typed key.
            example: an input, a pytree with leading axis b; of images f32[b,h,w,c].
        """


class ApplyNetwork(Protocol):
    """The `apply` of a network."""

    def __call__(
        self, variables: Variables, inputs: Any, *, train: bool, rngs: Mapping[str, Array] | None = None
    ) -> tuple[ModelOutput, Variables]:
        """Computes the output.

        Args:
            variables: as of `init`.
            inputs: a pytree with leading axis b; of images f32[b,h,w,c].
            train: whether the network trains: batch statistics and dropout depend on it.
            rngs: typed keys by the name of a random stream, such as "dropout". Other streams draw from "default".

        Returns:
            (output, updated): the collections that the call has changed, never "params"; {} without `train`.
        """


class Network(NamedTuple):
    """A network as two pure functions; `from_linen` and `from_nnx` make it of modules.

    init: creates the variables.
    apply: computes the output.
    """

    init: InitNetwork
    apply: ApplyNetwork


def synchronized(network: Network, axis_name: str | None) -> Network:
    """Makes a network whose updated collections are averaged over the devices, so that all devices keep the same.

    Args:
        network: computes on the rows of one device; its batch norm, for example, uses the statistics of these rows.
        axis_name: the mapped axis of the devices, or None outside a mapped function.
    """

    def apply(
        variables: Variables, inputs: Any, *, train: bool, rngs: Mapping[str, Array] | None = None
    ) -> tuple[ModelOutput, Variables]:
        output, updated = network.apply(variables, inputs, train=train, rngs=rngs)
        return output, jax.tree.map(average, updated)

    def average(leaf: Array) -> Array:
        # Integers, such as a count of updates, are the same on all devices.
        return mean_over_devices(leaf, axis_name) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return Network(network.init, apply)


def mode_arguments(call: Callable[..., Any], train: bool) -> dict[str, Any]:
    """Returns the keyword arguments that tell a module's `__call__` whether it trains; {} if it takes none."""
    parameters = inspect.signature(call).parameters
    return {name: train for name in _TRAINING if name in parameters} | {
        name: not train for name in _EVALUATING if name in parameters
    }


def model_output(
    result: Any, intermediates: Mapping[str, Any], embedding: str, feature_maps: Sequence[str]
) -> ModelOutput:
    """Completes the result of a module to a ModelOutput.

    Args:
        result: a ModelOutput, or logits f[b,classes].
        intermediates: the outputs of submodules as nested mappings {submodule: {"__call__": (output,)}}.
        embedding: the path of the submodule whose output is the embedding, as in "encoder/pool".
        feature_maps: the paths of the submodules whose outputs are the feature maps.

    Raises:
        ValueError: for another result, or a path without an output.
    """
    if not isinstance(result, ModelOutput):
        if not isinstance(result, jax.Array) or result.ndim != 2:
            found = f"shape {result.shape}" if isinstance(result, jax.Array) else type(result).__name__
            raise ValueError(f"a network must return logits [b,classes] or a ModelOutput; got {found}")
        if not embedding:
            raise ValueError(
                "a network that returns logits alone needs the path of the submodule whose output is the embedding: "
                "in the factory, return models.from_linen(module, embedding=PATH), or models.from_nnx"
            )
        result = ModelOutput(
            result,
            _pooled(_intermediate(intermediates, embedding)),
            tuple(_intermediate(intermediates, path) for path in feature_maps),
        )
    return result._replace(
        logits=result.logits.astype(jnp.float32), embedding=_pooled(result.embedding).astype(jnp.float32)
    )


def _pooled(features: Array) -> Array:
    """Averages f[b,...,d] over all axes but the first and the last."""
    between = tuple(range(1, features.ndim - 1))
    return jnp.mean(features, axis=between, dtype=jnp.float32) if between else features


def _intermediate(intermediates: Mapping[str, Any], path: str) -> Array:
    """Looks up the output of the last call of the submodule at "a/b", or the value that was sown there."""
    node: Any = intermediates
    for part in path.split("/"):
        node = node.get(part) if isinstance(node, Mapping) else None
    outputs = node.get("__call__") if isinstance(node, Mapping) else node
    if not isinstance(outputs, tuple) or not isinstance(outputs[-1], jax.Array):
        known = ", ".join(_paths(intermediates)) or "none"
        raise ValueError(f'no submodule "{path}" was called that returns an array (known: {known})')
    return outputs[-1]


def _paths(intermediates: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lists the paths of all submodules with an output, but the root's."""
    found = []
    for name, node in intermediates.items():
        if isinstance(node, Mapping):
            found += [prefix + name] if "__call__" in node else []
            found += _paths(node, f"{prefix}{name}/")
    return found
