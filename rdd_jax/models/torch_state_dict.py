"""Conversion of variables to and from the state dicts of RepDistiller's and torchvision's PyTorch networks.

A Flax submodule has the name of its PyTorch counterpart with "_" for ".": `layer2_0/downsample_0/kernel` corresponds to
`layer2.0.downsample.0.weight`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rdd_jax.core.errors import UserError
from rdd_jax.models.registry import create, variable_shapes

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# By rank: vectors; linear layers [in,out] -> [out,in]; convolutions [h,w,in,out] -> [out,in,h,w]; and back.
_TORCH_AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
_FLAX_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
# PyTorch's batch norm counts its updates but does not use the count; Flax's has no count.
_IGNORED = "num_batches_tracked"
# Shapes are computed for images of at least this side: some networks do not accept smaller ones, and below it no
# network's variables depend on the size.
_MIN_SIDE = 32

Shapes = dict[str, tuple[int, ...]]


class Mismatch(UserError):
    """The arrays belong to another network."""


def to_state_dict(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Converts {"params", "batch_stats"} to float32 arrays with PyTorch's names and layout."""
    return {
        _torch_name(path): np.ascontiguousarray(np.asarray(leaf, np.float32).transpose(_TORCH_AXES[leaf.ndim]))
        for path, leaf in _flatten(variables).items()
    }


def from_state_dict(
    arrays: Mapping[str, np.ndarray],
    name: str,
    num_classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    source: str = "the state dict",
    **kwargs: Any,
) -> dict[str, Any]:
    """Converts a state dict to the variables {"params", "batch_stats"} of a network, in float32.

    Args:
        arrays: by PyTorch's names, in its layout; `num_batches_tracked` is ignored.
        name: a key of models.MODELS.
        num_classes: of the logits.
        image_shape: (height, width, channels) of the images, on which the variables of some networks depend.
        source: the name of the arrays in error messages, such as the path of their file.
        **kwargs: the network's sizes, as of models.create.

    Raises:
        Mismatch: if a parameter is missing, superfluous or of another shape.
        UserError: if a number is not finite, or a variance is negative.
        ValueError: for an unknown name or size.
    """
    network = create(name, num_classes, **kwargs)
    height, width, channels = image_shape
    template = _flatten(variable_shapes(network, (max(height, _MIN_SIDE), max(width, _MIN_SIDE), channels)))
    paths = {_torch_name(path): path for path in template}
    shapes = {key: _torch_shape(template[path].shape) for key, path in paths.items()}
    found = {key: np.asarray(array) for key, array in arrays.items() if key.rpartition(".")[2] != _IGNORED}
    if difference := first_difference({key: array.shape for key, array in found.items()}, shapes, name):
        raise Mismatch(f"{source} is not a {name} for {num_classes} classes: {difference}")

    leaves = {}
    for key, path in paths.items():
        leaves[path] = np.ascontiguousarray(found[key].astype(np.float32).transpose(_FLAX_AXES[found[key].ndim]))
        if not np.isfinite(leaves[path]).all():
            raise UserError(f"{source} cannot be used: {key} has numbers that are not finite")
        if path[-1] == "var" and (leaves[path] < 0).any():
            raise UserError(f"{source} cannot be used: {key} is a variance and has negative numbers")
    return unflatten_dict(leaves)


def _flatten(variables: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Returns the arrays, or shapes, of nested dicts by their paths."""
    return dict(flatten_dict(variables))


def _torch_name(path: tuple[str, ...]) -> str:
    """Converts a path: ("params", "layer1_0", "conv1", "kernel") to "layer1.0.conv1.weight"."""
    _, *modules, leaf = path
    return ".".join([*"_".join(modules).split("_"), _LEAVES[leaf]])


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Permutes the shape of a Flax variable to PyTorch's layout."""
    return tuple(shape[axis] for axis in _TORCH_AXES[len(shape)])


def first_difference(found: Shapes, expected: Shapes, network: str) -> str:
    """Describes the first difference between the names and shapes, or returns "" if there is none."""
    # Convolutions come first, because they tell most about the architecture.
    expected_keys, found_keys = (sorted(shapes, key=lambda key: -len(shapes[key])) for shapes in (expected, found))
    differences = [
        *(f"it lacks {key}" for key in expected_keys if key not in found),
        *(f"it has {key}, which {network} has not" for key in found_keys if key not in expected),
        *(
            f"{key} is {found[key]} there and {expected[key]} in {network}"
            for key in expected_keys
            if key in found and found[key] != expected[key]
        ),
    ]
    return differences[0] if differences else ""


def _flatten(variables: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Returns the leaves of nested dictionaries by their paths."""
    leaves: Any = flatten_dict(variables)
    return leaves
