"""Variables by the names and in the layout of RepDistiller's and torchvision's PyTorch networks, in both directions.

A Flax submodule bears the name of its PyTorch twin with "_" for ".": `layer2_0/downsample_0/kernel` here is
`layer2.0.downsample.0.weight` there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rdd_jax import models
from rdd_jax.core.errors import UserError

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# By rank: vectors; linear layers [in,out] -> [out,in]; convolutions [h,w,in,out] -> [out,in,h,w]; and back.
_TORCH_AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
_FLAX_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
# Batch norm counts its updates there and has no use for it; nothing counts here.
_IGNORED = "num_batches_tracked"
# Below this side no network's variables depend on the size of the images, but some cannot look at smaller ones.
_SMALLEST = 32


class Mismatch(UserError):
    """The arrays are those of another network."""


def to_state_dict(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """{"params", "batch_stats"} -> f32 arrays by torch's names, in torch's layout."""
    return {
        _torch_name(path): np.ascontiguousarray(np.asarray(leaf, np.float32).transpose(_TORCH_AXES[leaf.ndim]))
        for path, leaf in flatten_dict(variables).items()
    }


def from_state_dict(
    arrays: Mapping[str, np.ndarray],
    name: str,
    num_classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    source: str = "the state dict",
) -> dict[str, Any]:
    """The variables {"params", "batch_stats"} of the network `name`, f32, from arrays by torch's names.

    Args:
        arrays: as `to_state_dict` returns them; `num_batches_tracked` is ignored.
        name: a key of models.MODELS.
        num_classes: of the logits.
        image_shape: (height, width, channels) of the images: some networks' variables depend on it.
        source: what errors call the arrays, such as the path of their file.

    Raises:
        Mismatch: if a parameter is missing, is none of the network's, or has another shape.
        UserError: if a number is not finite, or a variance negative.
        ValueError: for an unknown name.
    """
    network = models.create(name, num_classes)
    height, width, channels = image_shape
    template = flatten_dict(models.variable_shapes(network, (max(height, _SMALLEST), max(width, _SMALLEST), channels)))
    paths = {_torch_name(path): path for path in template}
    shapes = {key: _torch_shape(template[path].shape) for key, path in paths.items()}
    found = {key: np.asarray(array) for key, array in arrays.items() if key.rpartition(".")[2] != _IGNORED}
    if difference := _first_difference({key: array.shape for key, array in found.items()}, shapes, name):
        raise Mismatch(f"{source} is not a {name} for {num_classes} classes: {difference}")

    leaves = {}
    for key, path in paths.items():
        leaves[path] = np.ascontiguousarray(found[key].astype(np.float32).transpose(_FLAX_AXES[found[key].ndim]))
        if not np.isfinite(leaves[path]).all():
            raise UserError(f"{source} cannot be used: {key} has numbers that are not finite")
        if path[-1] == "var" and (leaves[path] < 0).any():
            raise UserError(f"{source} cannot be used: {key} is a variance and has negative numbers")
    return unflatten_dict(leaves)


def _torch_name(path: tuple[str, ...]) -> str:
    """("params", "layer1_0", "conv1", "kernel") -> "layer1.0.conv1.weight"."""
    _, *modules, leaf = path
    return ".".join([*"_".join(modules).split("_"), _LEAVES[leaf]])


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TORCH_AXES[len(shape)])


def _first_difference(found: dict[str, tuple], wanted: dict[str, tuple], network: str) -> str:
    """In words, or "" where names and shapes are the same."""
    # Convolutions first: of all parameters theirs say most about the architecture.
    ours, theirs = (sorted(shapes, key=lambda key: -len(shapes[key])) for shapes in (wanted, found))
    differences = [
        *(f"it lacks {key}" for key in ours if key not in found),
        *(f"it has {key}, which {network} has not" for key in theirs if key not in wanted),
        *(
            f"{key} is {found[key]} there and {wanted[key]} in {network}"
            for key in ours
            if key in found and found[key] != wanted[key]
        ),
    ]
    return differences[0] if differences else ""
