"""Predictions as files: predictions.json, and a self-contained page of the images with their classes."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2

from rdd_jax.analysis.prediction.predictions import Predictions
from rdd_jax.core.io import write_json, write_text
from rdd_jax.data import folders
from rdd_jax.runs import layout

_MOST_IMAGES = 500  # Some 10 MB.
_SIDE = 320  # Twice the pixels of the page, for fine screens.
_SMALL = 96  # Below this side a picture is enlarged on the page.


def write(folder: Path, predictions: Predictions) -> Path:
    """Writes index.html and predictions.json into a folder.

    Args:
        folder: is created where it does not exist; the files of an earlier call are replaced.
        predictions: their image files are read again.

    Returns:
        The path of index.html.
    """
    record = [
        {
            "file": image.file,
            "predictions": [{"class": name, "probability": probability} for name, probability in image.classes],
        }
        for image in predictions.images
    ]
    write_json(folder / layout.PREDICTIONS_RECORD, record)
    write_text(folder / layout.PREDICTIONS_PAGE, _html(predictions))
    return folder / layout.PREDICTIONS_PAGE


def printable(path: str) -> str:
    """Replaces the characters of a path that cannot be printed, such as a line break, by the replacement character."""
    return "".join(character if character.isprintable() else "\ufffd" for character in path)


def _html(predictions: Predictions) -> str:
    loader = jinja2.PackageLoader("rdd_jax.analysis")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=lambda count: f"{count:,}")
    shown = predictions.images[:_MOST_IMAGES]
    return environment.get_template("predict.html.j2").render(
        student=predictions.student,
        count=len(predictions.images),
        json=layout.PREDICTIONS_RECORD,
        images=[{**_picture(image.file), "file": printable(image.file), "classes": image.classes} for image in shown],
        unreadable=[(printable(file), printable(reason)) for file, reason in predictions.unreadable],
    )


def _picture(path: str) -> dict[str, Any]:
    """Returns an image as a data URI, reduced where it is large, and whether the page has to enlarge it."""
    image = folders.read_image(path)
    small = max(image.size) < _SMALL
    image.thumbnail((_SIDE, _SIDE))
    content, kind = io.BytesIO(), "png" if small else "jpeg"
    image.save(content, kind, quality=85)
    return {"source": f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}", "small": small}
