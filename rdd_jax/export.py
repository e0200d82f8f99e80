"""A trained student for other programs, and back again.

student.safetensors holds its weights by the names of RepDistiller's PyTorch networks; student.json says all else.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import ml_collections
import numpy as np
import safetensors.numpy

from rdd_jax import checkpoint, files, methods, models, runs
from rdd_jax.data import augment, choice
from rdd_jax.errors import UserError
from rdd_jax.models import torch_import
from rdd_jax.models.state_dict import to_state_dict
from rdd_jax.networks import load_network, measure
from rdd_jax.types import Array

VERSION = 1


class Exported(NamedTuple):
    """A network from an export: `model.apply(variables, preprocess(images), train=False)` is (logits, Features).

    preprocess: uint8[b,h,w,c] -> f32[b,h,w,c].
    description: what student.json holds.
    """

    model: nn.Module
    variables: dict[str, Any]
    preprocess: Callable[[Array], Array]
    description: dict[str, Any]


def save(workdir: Path, config: ml_collections.ConfigDict | None = None) -> Path:
    """Writes the student of a finished run into the folder `export` of its workdir, and returns that folder.

    Args:
        workdir: of the run.
        config: of the run; by default as it stands in its workdir.

    Raises:
        UserError: where there is no run, it is not finished, or its checkpoint or the data cannot be read.
    """
    config = config or runs.read_config(workdir)
    if not runs.is_finished(workdir):
        raise UserError(f"the student in {workdir} is not trained to its end: finish its run")
    step = checkpoint.latest_step(workdir)
    network = load_network(workdir, "float32")  # Whatever it was trained in: whoever loads it computes so.
    dataset = choice.load(config)
    weights = safetensors.numpy.save(to_state_dict(network.variables), metadata={"format": "pt"})
    description = {
        "version": VERSION,
        "network": config.student.name,
        "num_classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "image_shape": list(dataset.test_images.shape[1:]),
        "preprocessing": _preprocessing(dataset.mean, dataset.std),
        "dataset": choice.name(config),
        "method": methods.label(config.distill),
        "seed": config.seed,
        "step": step,
        "accuracy": measure(network, dataset)["accuracy"],
        "parameters": models.count_parameters(network.variables),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder = workdir / files.EXPORT
    files.write_bytes(folder / files.EXPORTED_WEIGHTS, weights)
    files.write_json(folder / files.EXPORTED_DESCRIPTION, description)
    return folder


def load(folder: str | Path) -> Exported:
    """The network in a folder that `save` wrote; needs neither the run nor the data.

    Raises:
        UserError: where a file is missing or damaged, or the two do not belong together.
    """
    weights, path = Path(folder) / files.EXPORTED_WEIGHTS, Path(folder) / files.EXPORTED_DESCRIPTION
    try:
        description = json.loads(path.read_bytes())
        if description["version"] != VERSION:
            raise UserError(f"{path} is of version {description['version']}, and this program reads {VERSION}")
        name, num_classes, preprocessing = (description[key] for key in ("network", "num_classes", "preprocessing"))
        mean, std = preprocessing["mean"], preprocessing["std"]
        if preprocessing != _preprocessing(mean, std) or len(mean) != description["image_shape"][-1]:
            raise ValueError("unknown preprocessing")
        if len(std) != len(mean) or not (np.isfinite([mean, std]).all() and min(std) > 0):
            raise ValueError("impossible mean or deviation")
        if hashlib.sha256(weights.read_bytes()).hexdigest() != description["sha256"]:
            raise UserError(
                f"{weights} is damaged, or not what {files.EXPORTED_DESCRIPTION} beside it describes: export it again"
            )
        model = models.create(name, num_classes)
        variables = torch_import.load(weights, name, num_classes, tuple(description["image_shape"]))
    except OSError as error:
        raise UserError(f"there is no export in {folder} ({error}): --mode=export writes one") from error
    except UserError:
        raise
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): export it again") from error
    return Exported(model, variables, partial(augment.normalize, mean=mean, std=std), description)


def _preprocessing(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """(pixel * scale - mean) / std, as `augment.normalize` computes it."""
    channels = {1: "gray", 3: "RGB"}[len(mean)]
    return {"layout": "NHWC", "channels": channels, "scale": 1 / 255, "mean": list(mean), "std": list(std)}
