"""Distils a student on a folder of your own images, exports it, and classifies one file.

    python -m examples.own_data --folder=PICTURES

PICTURES has a folder for each class, with image files in it, such as PICTURES/cat/1.jpg and PICTURES/dog/1.jpg. A fifth
of each class is held out for testing. Without --folder the digits of scikit-learn are written as such a folder first.

The same training by the program:

    python -m rdd_jax.main --config=configs/rdd.py:folder --config.data.folder=PICTURES
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from rdd_jax.data import datasets, folders
from rdd_jax.runs import export, presets
from rdd_jax.runs.config import RunConfig
from rdd_jax.training.run import train


def write_digits(folder: Path, images_per_class: int = 60) -> None:
    """Writes handwritten digits as folder/<class>/<number>.png, a stand-in for your own images."""
    digits = datasets.load("digits")
    for label, name in enumerate(digits.class_names):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(digits.train_images[digits.train_labels == label][:images_per_class]):
            Image.fromarray(pixels[:, :, 0]).save(place / f"{number}.png")


def distil(folder: Path, workdir: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Trains a teacher and a student on the images of a folder, and returns the content of summary.json.

    Args:
        folder: of the images.
        workdir: of the student's run; the teacher's is beside it.
        changes: keys of the configuration with other values, as in {"teacher.epochs": 1}.
    """
    config = presets.get_config("folder", ce=1.0, kd=0.9, rdd=0.8)
    config.data.folder = str(folder.resolve())
    return train(RunConfig.from_dict(config.to_dict()).replaced(changes), workdir)


def classify(exported: Path, path: Path) -> tuple[str, float]:
    """Returns the most probable class of an image file, and its probability, by an exported student."""
    student = export.load(exported)
    pixels = student.read(path)  # Scaled and cropped as in the student's evaluation.
    output, _ = student.network.apply(student.variables, student.preprocess(pixels[None]), train=False)
    probabilities = np.asarray(jax.nn.softmax(output.logits[0]))
    best = int(np.argmax(probabilities))
    return student.description["class_names"][best], float(probabilities[best])


def main(
    folder: str = "", workdir: str = "runs/own-data", changes: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Trains, exports and classifies the first image of the folder; returns the summary and the class."""
    pictures = Path(folder or "runs/own-data-pictures")
    if not folder:
        write_digits(pictures)
    summary = distil(pictures, Path(workdir), changes or {})
    print(f"teacher {summary['teacher']['accuracy']:.2f}%, student {summary['student']['accuracy']:.2f}%")
    exported = export.save(Path(workdir))
    example = folders.image_files(pictures)[0]
    name, probability = classify(exported, Path(example))
    print(f"{example}: {name}, {100 * probability:.1f}%")
    return summary, name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="", help="of images, one folder for each class")
    parser.add_argument("--workdir", default="runs/own-data")
    main(**vars(parser.parse_args()))
