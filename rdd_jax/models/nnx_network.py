"""Networks of flax.nnx modules."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from rdd_jax.core.types import Array, ModelOutput
from rdd_jax.models.network import Network, Variables, mode_arguments, model_output

# State that is made anew for every call.
_TRANSIENT = (nnx.RngState, nnx.Intermediate)
_Path = tuple[Any, ...]


def from_nnx(
    create: Callable[[nnx.Rngs], nnx.Module], *, embedding: str = "", feature_maps: Sequence[str] = ()
) -> Network:
    """Makes a Network of a function that creates an nnx module, as in `lambda rngs: ConvNet(10, rngs=rngs)`.

    Variables of type `nnx.Param` become the collection "params", those of `nnx.BatchStat` "batch_stats", and others a
    collection with the name of their type. The module's random streams are seeded anew in each call.

    Args:
        create: takes the random streams and returns the module, which returns a ModelOutput, or logits f[b,classes].
            Its `train()` and `eval()` set whether it trains, and so does an argument `train`, `training`,
            `is_training`, `deterministic` or `use_running_average` if it has one.
        embedding: for a module that returns logits, the path of the submodule whose output is the embedding, as in
            "blocks/3/pool". Its output f[b,...,d] is averaged over the axes between. It may also be the path of a
            value that the module sows as `nnx.Intermediate`.
        feature_maps: for a module that returns logits, the paths of the submodules whose outputs are the feature maps,
            shallow to deep.
    """
    captured = bool(embedding or feature_maps)

    @functools.cache
    def parts() -> tuple[Any, dict[_Path, Any]]:
        """Returns the structure of the module, and its state as shapes by path."""
        structure, state = nnx.split(nnx.eval_shape(lambda: create(nnx.Rngs(0))))
        return structure, dict(nnx.to_flat_state(state))

    def init(rng: Array, example: Any, /) -> Variables:
        return _collections(create(nnx.Rngs(rng)))

    def apply(
        variables: Variables, inputs: Any, *, train: bool, rngs: Mapping[str, Array] | None = None
    ) -> tuple[ModelOutput, Variables]:
        structure, shapes = parts()
        module = nnx.merge(structure, _state(shapes, variables, rngs or {}))
        module.train() if train else module.eval()
        arguments = mode_arguments(type(module).__call__, train)
        intermediates: dict[str, Any] = {}
        if captured:
            call = nnx.capture(module, nnx.Intermediate, method_outputs=nnx.Intermediate)
            result, found = call(inputs, **arguments)
            intermediates = unflatten_dict(
                {tuple(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(found)}
            )
        else:
            result = module(inputs, **arguments)
        updated = {name: tree for name, tree in _collections(module).items() if name != "params" and train}
        return model_output(result, intermediates, embedding, feature_maps), updated

    return Network(init, apply)


def _collections(module: nnx.Module) -> Variables:
    """Returns the arrays of a module by collection and path; parts of a path are text, also the numbers of a list."""
    leaves = {
        (_collection(leaf), *map(str, path)): leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf
        for path, leaf in nnx.to_flat_state(nnx.state(module))
        if not isinstance(leaf, _TRANSIENT)
    }
    return {"params": {}} | unflatten_dict(leaves)


def _collection(leaf: Any) -> str:
    if not isinstance(leaf, nnx.Variable):
        return "arrays"
    if isinstance(leaf, nnx.Param):
        return "params"
    return "batch_stats" if isinstance(leaf, nnx.BatchStat) else type(leaf).__name__


def _state(shapes: dict[_Path, Any], variables: Variables, rngs: Mapping[str, Array]) -> nnx.State:
    """Fills the state of a module with its variables and with new random streams."""
    values, leaves = flatten_dict(variables), []
    for number, (path, leaf) in enumerate(shapes.items()):
        if isinstance(leaf, nnx.RngKey):
            # Folding in the number tells streams apart that are seeded alike, as those of two dropout layers.
            key = rngs.get(leaf.tag, rngs.get("default", jax.random.key(0)))
            key = jax.random.fold_in(key, number)
            shape = leaf.get_value().shape
            value = jax.random.split(key, shape) if shape else key
        elif isinstance(leaf, nnx.RngState):
            value = jax.numpy.zeros(leaf.get_value().shape, leaf.get_value().dtype)
        else:
            value = values[(_collection(leaf), *map(str, path))]
        leaves.append((path, leaf.replace(value) if isinstance(leaf, nnx.Variable) else value))
    return nnx.from_flat_state(leaves)
