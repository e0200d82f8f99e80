"""Weights as arrays by name, in files: PyTorch's names for our own networks, paths for those of the user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rdd_jax.core import user_code
from rdd_jax.core.errors import UserError
from rdd_jax.models import torch_import
from rdd_jax.models.create_network import create_network
from rdd_jax.models.network import Variables
from rdd_jax.models.registry import variable_shapes
from rdd_jax.models.torch_state_dict import Mismatch, first_difference, to_state_dict


def to_arrays(name: str, variables: Variables) -> dict[str, np.ndarray]:
    """Converts the variables of a network to arrays by name.

    Args:
        name: as of `create_network`.
        variables: of the network.

    Returns:
        Float32 arrays with PyTorch's names and layout for a network of `MODELS`; for another network its arrays as they
        are, by their paths, as in "params/stem/kernel".
    """
    if not user_code.is_reference(name):
        return to_state_dict(variables)
    return {
        "/".join(path): np.ascontiguousarray(leaf) for path, leaf in flatten_dict(jax.device_get(variables)).items()
    }


def load(path: Path, name: str, num_classes: int, image_shape: tuple[int, int, int], **kwargs: Any) -> Variables:
    """Loads the variables of a network from a file of weights.

    Args:
        path: as of `torch_import.load`; for a network of the user's own a .safetensors file with `to_arrays`.
        name: as of `create_network`.
        num_classes: as of `create_network`.
        image_shape: (height, width, channels) of the images.
        **kwargs: as of `create_network`.

    Raises:
        Mismatch: if the file holds another network.
        UserError: if the file is missing or damaged, and as `create_network`.
        ValueError: for an unknown name or size.
    """
    if not user_code.is_reference(name):
        return torch_import.load(path, name, num_classes, image_shape, **kwargs)
    if path.suffix != torch_import.SAFETENSORS:
        raise UserError(f"{path} must be a .safetensors file: {user_code.short_name(name)} is no network of PyTorch's")
    shapes = variable_shapes(create_network(name, num_classes, **kwargs), image_shape)
    return _from_arrays(torch_import.read_safetensors(path), shapes, user_code.short_name(name), path)


def _from_arrays(arrays: Mapping[str, np.ndarray], shapes: Variables, network: str, path: Path) -> Variables:
    """Arranges the arrays of a file by their paths, and checks them."""
    flat = cast(dict[tuple[str, ...], jax.ShapeDtypeStruct], flatten_dict(shapes))
    template = {"/".join(key): leaf for key, leaf in flat.items()}
    found = {key: array.shape for key, array in arrays.items()}
    if difference := first_difference(found, {key: leaf.shape for key, leaf in template.items()}, network):
        raise Mismatch(f"{path} is not a {network}: {difference}")
    for key, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.floating) and not np.isfinite(array.astype(np.float32)).all():
            raise UserError(f"{path} cannot be used: {key} has numbers that are not finite")
    return unflatten_dict({tuple(key.split("/")): arrays[key].astype(leaf.dtype) for key, leaf in template.items()})
