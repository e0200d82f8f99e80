"""Weights of networks trained with PyTorch, such as RepDistiller's and torchvision's checkpoints.

Only files other than .safetensors need PyTorch.
"""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from rdd_jax.core.errors import UserError
from rdd_jax.models.torch_state_dict import from_state_dict

SAFETENSORS = ".safetensors"
_PARALLEL = "module."
# What torch.load raises for damaged files, whose instructions its unpickler executes as far as it can.
_UNPICKLING_ERRORS = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, OSError, EOFError, RuntimeError, ValueError),
    *(LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
)


def load(
    path: str | Path,
    name: str,
    num_classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    **kwargs: Any,
) -> dict[str, Any]:
    """Loads the variables {"params", "batch_stats"} of a network, in float32, from PyTorch's weights.

    Args:
        path: a .safetensors file, or a file of `torch.save` with a state dict, by itself or as "model" or "state_dict"
            of a checkpoint. All names may begin with "module.", as those of DataParallel do.
        name: a key of models.MODELS.
        num_classes: of the logits.
        image_shape: (height, width, channels) of the images, on which the variables of some networks depend.
        **kwargs: the network's sizes, as of models.create.

    Raises:
        Mismatch: if the file holds another network.
        UserError: if the file is missing, is damaged, holds more than weights, or needs PyTorch, which is missing.
        ValueError: for an unknown name or size.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    arrays = read_safetensors(path) if path.suffix == SAFETENSORS else _read_checkpoint(path)
    while arrays and all(key.startswith(_PARALLEL) for key in arrays):
        arrays = {key.removeprefix(_PARALLEL): array for key, array in arrays.items()}
    return from_state_dict(arrays, name, num_classes, image_shape, source=str(path), **kwargs)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a .safetensors file."""
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged, or no safetensors file ({error}): fetch it again") from error
    except (AttributeError, TypeError) as error:
        raise UserError(f"{path} holds numbers that NumPy has no type for ({error}): save them as float32") from error


def _read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save` with PyTorch, as float32."""
    try:
        import torch  # pyrefly: ignore[missing-import]
    except ImportError:
        raise UserError(f"{path} is read by PyTorch, which is not installed: pip install torch") from None
    if not hasattr(torch.serialization, "safe_globals"):
        raise UserError(f"{path} is read by PyTorch 2.5 or later, and {torch.__version__} is installed: update it")
    try:
        # `weights_only` unpickles tensors, plain values and RepDistiller's options, and runs no code of the file.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds {code[1]} besides weights" if code else "damaged, or no checkpoint"
        raise UserError(
            f"{path} cannot be read ({reason}): fetch it again, or save it as torch.save(model.state_dict(), FILE)"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f'{path} holds no state dict, neither by itself nor as "model" or "state_dict"')
    for key, tensor in content.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
            raise UserError(f"{path} cannot be used: {key} is no plain array of numbers")
    return {str(key): tensor.detach().to(torch.float32).numpy() for key, tensor in content.items()}
