"""A trained student for other programs, and back again.

student.safetensors holds its weights by the names of RepDistiller's PyTorch networks, student.stablehlo the network
with them and its normalisation for JAX alone, and student.json describes everything else.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import safetensors.numpy

from rdd_jax import methods, models
from rdd_jax.core import io
from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.core.types import Array
from rdd_jax.data import loading, preprocessing
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.models import torch_import
from rdd_jax.models.torch_state_dict import to_state_dict
from rdd_jax.runs import checkpointing, layout, records, stablehlo
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import evaluate_on_test, load_student
from rdd_jax.steps.evaluation import accuracies

VERSION = 2


class Exported(NamedTuple):
    """A network from an export: `model.apply(variables, preprocess(images), train=False)` is ModelOutput.

    read: the path of an image file, or an image of Pillow's, of any size -> uint8[h,w,c]; see `Preprocessing.read`.
    preprocess: such pixels uint8[b,h,w,c] -> f32[b,h,w,c]; see `Preprocessing.normalize`.
    description: the content of student.json.
    """

    model: nn.Module
    variables: dict[str, Any]
    read: Callable[..., np.ndarray]
    preprocess: Callable[[Array], jax.Array]
    description: dict[str, Any]


def save(workdir: Path, config: RunConfig | None = None) -> Path:
    """Writes the student of a finished run into the folder `export` of its workdir, and returns that folder.

    Args:
        workdir: of the run.
        config: of the run; by default as it stands in its workdir.

    Raises:
        UserError: where there is no run, it is not finished, or its checkpoint or the data cannot be read.
    """
    config = config or records.read_config(workdir)
    if not records.is_finished(workdir):
        raise UserError(f"the student in {workdir} is not trained to its end: finish its run")
    io.check_writable(workdir / layout.EXPORT)
    identity = _identity(workdir)
    network = load_student(workdir, "float32")  # Whatever it was trained in: whoever loads it computes so.
    dataset = loading.load(config.data)
    steps = Preprocessing(loading.resize_rule(config.data), dataset.mean, dataset.std)
    weights = safetensors.numpy.save(to_state_dict(network.variables), metadata={"format": "pt"})
    description = {
        "version": VERSION,
        "network": config.student.name,
        "num_classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "image_shape": list(steps.image_shape),
        "preprocessing": steps.to_json(),
        "dataset": loading.dataset_name(config.data),
        "method": methods.label(config.distill),
        "seed": config.seed,
        **identity,
        **accuracies(evaluate_on_test(network, dataset)),
        "parameters": models.count_parameters(network.variables),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder = workdir / layout.EXPORT
    io.write_bytes(folder / layout.EXPORTED_WEIGHTS, weights)
    io.write_bytes(folder / layout.EXPORTED_STABLEHLO, stablehlo.serialize(*network, steps))
    io.write_json(folder / layout.EXPORTED_DESCRIPTION, description)
    return folder


def save_if_needed(workdir: Path, config: RunConfig | None = None) -> Path:
    """Returns the folder `export` of a finished run, which `save` writes unless it holds this very student already.

    Arguments and errors are those of `save`.
    """
    path = workdir / layout.EXPORT / layout.EXPORTED_DESCRIPTION
    if records.is_finished(workdir) and path.is_file() and _identity(workdir).items() <= _read(path).items():
        return path.parent
    return save(workdir, config)


def _identity(workdir: Path) -> dict[str, Any]:
    """The progress and the configuration of a run, by which an export of another student can be told."""
    config = (workdir / layout.CONFIG).read_bytes()
    return {"step": checkpointing.latest_step(workdir), "config_sha256": hashlib.sha256(config).hexdigest()}


def load(folder: str | Path) -> Exported:
    """The network in a folder that `save` wrote; needs neither the run nor the data.

    Raises:
        UserError: where a file is missing or damaged, the two do not belong together, or the network is not one of
            `models.MODELS`.
    """
    weights, path = Path(folder) / layout.EXPORTED_WEIGHTS, Path(folder) / layout.EXPORTED_DESCRIPTION
    description = _read(path)
    try:
        name, num_classes, image_shape = (description[key] for key in ("network", "num_classes", "image_shape"))
        steps = preprocessing.from_json(description["preprocessing"])
        if len(description["class_names"]) != num_classes:
            raise ValueError(f"{len(description['class_names'])} class_names for {num_classes} classes")
        if list(steps.image_shape) != image_shape:
            raise ValueError(f"image_shape {image_shape} is not {list(steps.image_shape)}")
        if name not in models.MODELS:
            raise UserError(
                f"{path}: {unknown_name_message('model', name, models.MODELS)}; add a network of your own before it "
                f'is loaded: rdd_jax.models.MODELS["{name}"] = ...'
            )
        if hashlib.sha256(weights.read_bytes()).hexdigest() != description["sha256"]:
            raise UserError(
                f"{weights} is damaged, or not what {layout.EXPORTED_DESCRIPTION} beside it describes: export it again"
            )
        model = models.create(name, num_classes)
        variables = torch_import.load(weights, name, num_classes, steps.image_shape)
    except UserError:
        raise
    except OSError as error:
        raise _missing(Path(folder), error) from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return Exported(model, variables, steps.read, steps.normalize, description)


def _read(path: Path) -> dict[str, Any]:
    """The content of a student.json of this version."""
    try:
        description = json.loads(path.read_bytes())
        if description["version"] != VERSION:
            raise UserError(
                f"{path} is of version {description['version']}, and this program reads {VERSION}: export it again"
            )
    except OSError as error:
        raise _missing(path.parent, error) from error
    except UserError:
        raise
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return description


def _missing(folder: Path, error: OSError) -> UserError:
    return UserError(f"there is no export in {folder} ({error}): --mode=export writes one")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else error
    return UserError(f"{path} is damaged ({reason}): export it again")
