"""Classes of image files, by the student of a run or of an export.

predictions = prediction.predict("runs/rdd-cifar100-seed0", ["pictures", "cat.jpg"])
predictions.images[0].file, predictions.images[0].classes
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rdd_jax.core.errors import UserError
from rdd_jax.core.types import Array
from rdd_jax.data import folders
from rdd_jax.runs import export, layout
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.export import ExportedStudent

_TOP = 5
_BATCH = 64


class Prediction(NamedTuple):
    """The most probable classes of one image.

    file: the path of the image.
    classes: at most five (name, probability), the most probable first.
    """

    file: str
    classes: list[tuple[str, float]]


class Unreadable(NamedTuple):
    """A file that is no image, is damaged, or does not fit the network.

    file: its path.
    reason: in words.
    """

    file: str
    reason: str


class Predictions(NamedTuple):
    """The predictions for many images.

    student: the content of the export's student.json.
    images: the predictions of all images.
    unreadable: the files in folders that were skipped.
    """

    student: dict[str, Any]
    images: list[Prediction]
    unreadable: list[Unreadable]


def predict(workdir: str | Path, paths: Sequence[str | Path], config: RunConfig | None = None) -> Predictions:
    """Predicts the classes of image files by a trained student.

    Args:
        workdir: of a finished run, whose student is exported first where it has not been; or the folder of an export,
            which needs neither the run nor its data.
        paths: image files, and folders, whose images are read recursively.
        config: of the run; by default that in its workdir.

    Raises:
        UserError: if there is no trained student; if a path does not exist; if a folder has no images, or none that
            can be read; if a file of `paths` cannot be read.
    """
    workdir, found = Path(workdir), _find(paths)
    student = export.load(workdir if is_export(workdir) else export.save_if_needed(workdir, config))
    predictions = Predictions(student.description, [], [])
    rows = min(_BATCH, len(found))
    probabilities = _make_probabilities(student, rows)
    for images in _read(student, list(found), rows):
        left_out = [Unreadable(file, image) for file, image in images.items() if isinstance(image, str)]
        for file, reason in left_out:
            if found[file]:
                raise UserError(f"{file} cannot be read ({reason}): give another file")
        predictions.unreadable.extend(left_out)
        readable = {file: image for file, image in images.items() if not isinstance(image, str)}
        for file, row in zip(readable, probabilities(list(readable.values())), strict=True):
            predictions.images.append(Prediction(file, _most_probable(row, student.description["class_names"])))
    if not predictions.images:
        file, reason = predictions.unreadable[0]
        raise UserError(f"none of {len(found):,} images can be read, the first is {file} ({reason}): give others")
    return predictions


def is_export(folder: Path) -> bool:
    """Returns True for the folder of an export, and False for a run's workdir."""
    return os.path.isfile(folder / layout.EXPORTED_DESCRIPTION) and not os.path.exists(folder / layout.CONFIG)


def _find(paths: Sequence[str | Path]) -> dict[str, bool]:
    """Lists all images once, in order; the value is True for images named in `paths`, False for those in folders."""
    found: dict[str, bool] = {}
    for path in (os.path.expanduser(path) for path in paths):
        if os.path.isdir(path):
            images = folders.image_files(Path(path))
            if not images:
                raise UserError(f"{path} holds no images ({folders.SUFFIXES}): give another folder, or files")
            for image in images:
                found.setdefault(image, False)
        elif os.path.isfile(path):
            found[path] = True
        else:
            raise UserError(f"there is no file or folder {path}: give the paths of images, or of folders of such")
    if not found:
        raise UserError("there are no images to predict: give the paths of images, or of folders of such")
    return found


def _read(student: ExportedStudent, paths: list[str], rows: int) -> Iterator[dict[str, np.ndarray | str]]:
    """Yields `rows` files at a time, each as uint8[h,w,c] or as the reason why it cannot be read."""

    def read(path: str) -> np.ndarray | str:
        try:
            return student.read(path)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), rows):
            batch = paths[start : start + rows]
            yield dict(zip(batch, pool.map(read, batch), strict=True))


def _make_probabilities(student: ExportedStudent, rows: int) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Makes the function that maps at most `rows` images uint8[h,w,c] to probabilities f32[images,classes].

    It is compiled once, for `rows` images.
    """

    @jax.jit
    def softmax(variables: dict[str, Any], images: Array) -> Array:
        logits = student.network.apply(variables, student.preprocess(images), train=False)[0].logits
        return jax.nn.softmax(logits)

    def probabilities(images: list[np.ndarray]) -> np.ndarray:
        batch = np.zeros((rows, *student.description["image_shape"]), np.uint8)
        for row, image in enumerate(images):
            batch[row] = image
        found = np.asarray(softmax(student.variables, batch))[: len(images)]
        if not np.isfinite(found).all():
            raise UserError("the student has diverged, its probabilities are not finite: train anew")
        return found

    return probabilities


def _most_probable(probabilities: np.ndarray, class_names: Sequence[str]) -> list[tuple[str, float]]:
    """Returns the classes of the largest of probabilities f32[classes], in descending order."""
    order = np.argsort(-probabilities, kind="stable")[:_TOP]
    return [(class_names[label], float(probabilities[label])) for label in order]
