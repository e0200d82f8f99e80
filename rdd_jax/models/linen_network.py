"""Networks of flax.linen modules."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from rdd_jax.core.types import Array, ModelOutput
from rdd_jax.models.network import Network, Variables, mode_arguments, model_output

_INTERMEDIATES = "intermediates"


def from_linen(module: nn.Module, *, embedding: str = "", feature_maps: Sequence[str] = ()) -> Network:
    """Makes a Network of a linen module.

    Args:
        module: returns a ModelOutput, or logits f[b,classes]. If it has an argument `train`, `training`,
            `is_training`, `deterministic` or `use_running_average`, that tells it whether it trains. It may have any
            collections, and draw from any random streams.
        embedding: for a module that returns logits, the path of the submodule whose output is the embedding, as in
            "encoder/pool". Its output f[b,...,d] is averaged over the axes between. It may also be the path of a value
            that the module sows into "intermediates".
        feature_maps: for a module that returns logits, the paths of the submodules whose outputs are the feature maps,
            shallow to deep.
    """
    captured = bool(embedding or feature_maps)

    def init(rng: Array, example: Any, /) -> Variables:
        # Streams other than "params" draw from the same key, at other counts.
        variables = module.init(rng, example, **mode_arguments(module.__call__, False))
        return {"params": {}} | {name: tree for name, tree in variables.items() if name != _INTERMEDIATES}

    def apply(
        variables: Variables, inputs: Any, *, train: bool, rngs: Mapping[str, Array] | None = None
    ) -> tuple[ModelOutput, Variables]:
        changing = [name for name in variables if name != "params"] if train else []
        result, updated = module.apply(
            variables,
            inputs,
            rngs=_linen_streams(rngs or {}),
            mutable=changing + [_INTERMEDIATES] * captured,
            capture_intermediates=captured,
            **mode_arguments(module.__call__, train),
        )
        updated = dict(updated)
        output = model_output(result, updated.pop(_INTERMEDIATES, {}), embedding, feature_maps)
        _check_structure(updated, variables)
        return output, updated

    return Network(init, apply)


def as_network(module: nn.Module | Network) -> Network:
    """Returns a Network as it is, and a linen module as the Network of it."""
    return module if isinstance(module, Network) else from_linen(module)


def _linen_streams(rngs: Mapping[str, Array]) -> dict[str, Array]:
    """Renames "default" to "params", the stream from which linen draws for streams without a key."""
    return {"params" if name == "default" else name: key for name, key in rngs.items()}


def _check_structure(updated: Variables, variables: Variables) -> None:
    """Raises ValueError for a collection that training makes larger, such as one that values are sown into."""
    for name, tree in updated.items():
        if jax.tree.structure(tree) != jax.tree.structure(variables[name]):
            raise ValueError(
                f'the collection "{name}" has other entries after a call than before: values are sown into '
                f'"{_INTERMEDIATES}" only'
            )
