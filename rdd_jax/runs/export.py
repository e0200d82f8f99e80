"""Export of a trained student for use in other programs, and loading of such an export.

student.safetensors holds the weights by the names of RepDistiller's PyTorch networks; those of a network of the user's
own by their paths, as in "params/stem/kernel". student.stablehlo holds the
network with its weights and its input normalisation, for JAX without this package. student.json describes the classes,
the preprocessing, the accuracy and the origin of the student.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from rdd_jax import methods, models
from rdd_jax.core import io, user_code
from rdd_jax.core.errors import UserError
from rdd_jax.core.types import Array
from rdd_jax.data import loading
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.models import Network, weights
from rdd_jax.runs import checkpointing, layout, records, stablehlo
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.network_options import StudentOptions
from rdd_jax.runs.trained_models import evaluate_on_test, load_student

VERSION = 3


class ExportedStudent(NamedTuple):
    """A network loaded from an export: `network.apply(variables, preprocess(images), train=False)[0]`.

    network: the network.
    variables: its variables.
    read: reads an image file, or an image of Pillow's, of any size as uint8[h,w,c]; see `Preprocessing.read`.
    preprocess: normalises such images uint8[b,h,w,c] to f32[b,h,w,c]; see `Preprocessing.normalize`.
    description: the content of student.json.
    """

    network: Network
    variables: dict[str, Any]
    read: Callable[..., np.ndarray]
    preprocess: Callable[[Array], jax.Array]
    description: dict[str, Any]


def save(workdir: Path, config: RunConfig | None = None) -> Path:
    """Writes the student of a finished run into the folder `export` of its workdir.

    Args:
        workdir: of the run.
        config: of the run; by default that in its workdir.

    Returns:
        The folder.

    Raises:
        UserError: where there is no run, it is not finished, or its checkpoint or the data cannot be read.
    """
    config = config or records.read_config(workdir)
    if not records.is_finished(workdir):
        raise UserError(f"the student in {workdir} is not trained to its end: finish its run")
    io.check_writable(workdir / layout.EXPORT)
    identity = _identity(workdir)
    network = load_student(workdir, "float32", config.student)  # Whatever dtype it was trained in.
    dataset = loading.load(config.data)
    preprocessing = Preprocessing(loading.resize_rule(config.data), dataset.mean, dataset.std)
    form = "flax" if user_code.is_reference(config.student.name) else "pt"
    content = safetensors.numpy.save(
        weights.to_arrays(config.student.name, network.variables), metadata={"format": form}
    )
    description = {
        "version": VERSION,
        "network": config.student.name,
        "kwargs": dict(config.student.kwargs),
        "num_classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "image_shape": list(preprocessing.image_shape),
        "preprocessing": preprocessing.to_json(),
        "dataset": loading.dataset_name(config.data),
        "method": methods.label(config.distill),
        "seed": config.seed,
        **identity,
        **evaluate_on_test(network, dataset),
        "parameters": models.count_parameters(network.variables),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    folder = workdir / layout.EXPORT
    io.write_bytes(folder / layout.EXPORTED_WEIGHTS, content)
    io.write_bytes(folder / layout.EXPORTED_STABLEHLO, stablehlo.serialize(*network, preprocessing))
    io.write_json(folder / layout.EXPORTED_DESCRIPTION, description)
    return folder


def save_if_needed(workdir: Path, config: RunConfig | None = None) -> Path:
    """Writes the export of a finished run unless it holds the same student already.

    Arguments, result and errors are those of `save`.
    """
    path = workdir / layout.EXPORT / layout.EXPORTED_DESCRIPTION
    if records.is_finished(workdir) and path.is_file():
        student = (config or records.read_config(workdir)).student
        wanted = {**_identity(workdir), "network": student.name}  # Its file may have been moved.
        if wanted.items() <= _read_description(path).items():
            return path.parent
    return save(workdir, config)


def load(folder: str | Path, network: str = "") -> ExportedStudent:
    """Loads the network in a folder that `save` has written; needs neither the run nor the data.

    Args:
        folder: of the export.
        network: the present place of a network of the user's own, as FILE.py:FACTORY; by default that at the export.

    Raises:
        UserError: where a file is missing or damaged, the files do not belong together, or the network is neither one
            of `models.MODELS` nor one of the user's own that can be found.
    """
    folder = Path(folder)
    file, path = folder / layout.EXPORTED_WEIGHTS, folder / layout.EXPORTED_DESCRIPTION
    description = _read_description(path)
    try:
        name, num_classes = description["network"], description["num_classes"]
        preprocessing = Preprocessing.from_json(description["preprocessing"])
        _check_description(description, preprocessing)
        student = StudentOptions(name=network or name, kwargs=description["kwargs"])
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    records.check_network(student.name, path)
    try:
        checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise _missing(folder, error) from error
    if checksum != description["sha256"]:
        raise UserError(
            f"{file} is damaged, or not what {layout.EXPORTED_DESCRIPTION} beside it describes: export it again"
        )
    variables = weights.load(file, student.name, num_classes, preprocessing.image_shape, **student.kwargs)
    created = models.create_network(student.name, num_classes, **student.kwargs)
    return ExportedStudent(created, variables, preprocessing.read, preprocessing.normalize, description)


def _identity(workdir: Path) -> dict[str, Any]:
    """Returns the step and the configuration's checksum of a run, by which exports of another student are detected."""
    config = (workdir / layout.CONFIG).read_bytes()
    return {"step": checkpointing.latest_step(workdir), "config_sha256": hashlib.sha256(config).hexdigest()}


def _check_description(description: dict[str, Any], preprocessing: Preprocessing) -> None:
    """Raises LookupError, TypeError or ValueError for values that cannot be those of an export."""
    name, num_classes, class_names = (description[key] for key in ("network", "num_classes", "class_names"))
    if not isinstance(name, str):
        raise TypeError(f"network {name!r} is no name")
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes {num_classes!r} is no number of classes")
    if len(class_names) != num_classes:
        raise ValueError(f"{len(class_names)} class_names for {num_classes} classes")
    if description["image_shape"] != list(preprocessing.image_shape):
        raise ValueError(f"image_shape {description['image_shape']} is not {list(preprocessing.image_shape)}")
    if not isinstance(description["sha256"], str):
        raise TypeError("sha256 is no checksum")


def _read_description(path: Path) -> dict[str, Any]:
    """Reads a student.json of this version."""
    try:
        description = json.loads(path.read_bytes())
        version = description["version"]
    except OSError as error:
        raise _missing(path.parent, error) from error
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    if version != VERSION:
        raise UserError(f"{path} is of version {version}, and this program reads {VERSION}: export it again")
    return description


def _missing(folder: Path, error: OSError) -> UserError:
    return UserError(f"there is no export in {folder} ({error}): --mode=export writes one")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else error
    return UserError(f"{path} is damaged ({reason}): export it again")
