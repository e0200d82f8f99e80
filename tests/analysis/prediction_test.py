"""Predictions for image files: the classes, the page, and whatever is no image; by a network that nobody trained."""

import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rdd_jax.analysis.prediction import predictions as prediction
from rdd_jax.core.errors import UserError
from rdd_jax.core.types import ModelOutput
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.data.resize import ResizeRule
from rdd_jax.main import main
from rdd_jax.runs import export, layout
from rdd_jax.runs.export import ExportedStudent

NAMES = ("cat", "dog", "<script>alert(1)</script>", "goose", "cow", "hen", "pig")
SHAPES = []  # Of the batches that the network below is compiled for.


def apply(variables, images, train):
    """Seven classes by the mean brightness in [0, 1]: class 0 for black, class 6 for white."""
    SHAPES.append(images.shape)
    brightness = jnp.mean(images, axis=(1, 2, 3))
    logits = -4 * (6 * brightness[:, None] - jnp.arange(7)) ** 2
    return ModelOutput(logits, embedding=images[:, 0, 0]), {}


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    """The folder of an export of that network."""
    steps = Preprocessing(ResizeRule(4, 4), (0.0,) * 3, (1.0,) * 3)
    description = {"network": "fake", "method": "ce", "dataset": "farm", "num_classes": 7, "accuracy": 91.234}
    description |= {"class_names": NAMES, "image_shape": [4, 4, 3]}
    student = ExportedStudent(SimpleNamespace(apply=apply), {}, steps.read, steps.normalize, description)
    monkeypatch.setattr(export, "load", lambda folder: student)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / layout.EXPORTED_DESCRIPTION).touch()
    SHAPES.clear()
    return tmp_path / "run"


def paint(path, brightness, size=(9, 7), mode="RGB"):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("L", size, round(255 * brightness)).convert(mode).save(path)
    return path


def test_classes_are_the_networks_most_probable_ones(workdir, tmp_path):
    paths = [paint(tmp_path / f"{label}.png", label / 6, mode=mode) for label, mode in ((1, "RGB"), (3, "L"), (6, "P"))]
    found = prediction.predict(workdir, paths)
    assert [image.file for image in found.images] == list(map(str, paths))
    logits = -4 * (6 * np.round(255 * np.array([1, 3, 6]) / 6)[:, None] / 255 - np.arange(7)) ** 2
    expected = np.asarray(jax.nn.softmax(logits))
    for image, row in zip(found.images, expected, strict=True):
        names, probabilities = zip(*image.classes, strict=True)
        order = np.argsort(-row, kind="stable")[:5]
        assert names == tuple(NAMES[label] for label in order)
        np.testing.assert_allclose(probabilities, row[order], rtol=1e-4)
    assert not found.unreadable


def test_any_number_of_images_is_compiled_for_one_batch_shape(workdir, tmp_path):
    for number in range(150):
        paint(tmp_path / "pictures" / str(number % 3) / f"{number:03}.png", number % 7 / 6)
    found = prediction.predict(workdir, ["pictures", "pictures/0/000.png"])
    assert SHAPES == [(64, 4, 4, 3)]
    assert len(found.images) == 150
    for image in found.images:
        assert image.classes[0][0] == NAMES[int(image.file[-7:-4]) % 7]


def predictions(capsys, *arguments):
    """-> (exit code, lines of stdout, lines of stderr)"""
    code = main(["main", "--mode=predict", *arguments])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_the_program_writes_a_page_and_a_record(workdir, tmp_path, capsys):
    white = paint(tmp_path / "white.png", 1.0)
    hostile = paint(tmp_path / "pictures" / '"><img src=x onerror=alert(2)>.jpg', 1 / 3, size=(500, 100))
    (tmp_path / "pictures" / "broken.png").write_text("nothing")
    code, out, err = predictions(capsys, f"--workdir={workdir}", "--images=white.png,pictures")
    assert code == 0
    assert out[0].startswith("white.png: pig 98.2%, hen 1.8%, cow 0.0%")
    assert out[-1] == f"page: {workdir / 'predict' / 'index.html'}"
    assert len(err) == 1
    assert "pictures/broken.png (cannot identify image file" in err[0]

    record = json.loads((workdir / "predict" / "predictions.json").read_text())
    assert [image["file"] for image in record] == [white.name, str(hostile.relative_to(tmp_path))]
    assert record[0]["predictions"][0]["class"] == "pig"
    np.testing.assert_allclose(record[0]["predictions"][0]["probability"], 1 / (1 + np.exp(-4)), rtol=1e-4)
    assert [len(image["predictions"]) for image in record] == [5, 5]

    page = (workdir / "predict" / "index.html").read_text()
    assert page.count("<img") == page.count('src="data:image/') == 2
    assert "&#34;&gt;&lt;img src=x" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "pictures/broken.png" in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((), "which images?"),
        (("--images=nowhere.png",), "there is no file or folder nowhere.png"),
        (("--images=empty",), r"empty holds no images \(.bmp, "),
        (("--images=text.png",), "text.png cannot be read .cannot identify image file"),
        (("--images=deep.png",), "deep.png cannot be read .its pixels are I;16, and 8 bits"),
        (("--images=good.png,text.png",), "text.png cannot be read"),
        (("--images=broken",), "none of 2 images can be read, the first is broken/a.png"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_one_line(workdir, tmp_path, capsys, images, words):
    paint(tmp_path / "good.png", 0.5)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for path in ("text.png", "empty/notes.txt", "broken/a.png", "broken/b.jpg"):
        (tmp_path / path).write_text("nothing")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    code, out, err = predictions(capsys, f"--workdir={workdir}", *images)
    assert (code, out, len(err)) == (2, [], 1)
    assert re.search(words, err[0])
    assert not (workdir / "predict").exists()


def test_names_in_other_encodings_are_shown(workdir, tmp_path, capsys):
    paint(tmp_path / "pictures" / "a\udcff\nb.png", 0.0)
    code, out, _ = predictions(capsys, f"--workdir={workdir}", "--images=pictures")
    assert code == 0
    assert out[0].startswith("pictures/a\ufffd\ufffdb.png: cat")
    assert "pictures/a\ufffd\ufffdb.png" in (workdir / "predict" / "index.html").read_text()
    [image] = json.loads((workdir / "predict" / "predictions.json").read_text())
    assert image["file"] == "pictures/a\udcff\nb.png"


def test_a_diverged_student_is_refused(workdir, tmp_path, monkeypatch):
    student = export.load(workdir)
    broken = SimpleNamespace(
        apply=lambda variables, images, train: (ModelOutput(jnp.full((len(images), 7), jnp.nan), None), {})
    )
    monkeypatch.setattr(export, "load", lambda folder: student._replace(network=broken))
    with pytest.raises(UserError, match="not finite"):
        prediction.predict(workdir, [paint(tmp_path / "a.png", 0.0)])
