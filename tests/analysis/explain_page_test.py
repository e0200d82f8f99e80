"""The pages and pictures of explanations: what they must show, and what they must never let through."""

import json
import re
import struct
import warnings

import matplotlib
import numpy as np
import pytest

from rdd_jax.analysis.explain import Examples, Model, draw, explain, page, write
from rdd_jax.analysis.plots import printable_names, truncated

COUNT, CLASSES = 90, 3
LABELS = (np.arange(COUNT) % CLASSES).astype(np.int32)
IMAGES = np.random.default_rng(3).integers(0, 256, (COUNT, 8, 8, 1), dtype=np.uint8)
NAMES = ("three", "five", "eight")
ALL = {
    "spaces-labels",
    "grids-teacher-unique",
    "spaces-teacher-unique",
    "grids-student-unique",
    "spaces-student-unique",
}


def embeddings():
    """Of a teacher that knows the classes, and of a student that knows something else."""
    rng = np.random.default_rng(0)
    teacher = 9 * np.eye(CLASSES)[LABELS] + rng.normal(size=(COUNT, CLASSES))
    student = 9 * np.eye(4)[rng.permutation(COUNT) % 4] + rng.normal(size=(COUNT, 4))
    return student.astype(np.float32), teacher.astype(np.float32)


STUDENT, TEACHER = embeddings()
EXAMPLES = Examples(IMAGES, LABELS, NAMES)


@pytest.fixture(scope="module")
def explanation():
    return explain(STUDENT, TEACHER, num_clusters=2)


@pytest.fixture(scope="module")
def nothing():
    return explain(TEACHER, TEACHER, num_clusters=2)


@pytest.fixture(scope="module")
def pictures(explanation):
    return draw(explanation, STUDENT, TEACHER, EXAMPLES)


@pytest.fixture
def _drawn_before(monkeypatch, pictures):
    """Takes the pictures from a test before, for tests of the rest of the page: drawing takes seconds."""

    def draw_again(explanation, *arguments):
        return {name: picture for name, picture in pictures.items() if explanation[0].clusters or "labels" in name}

    monkeypatch.setattr(page, "draw", draw_again)


def prose(page):
    """The page's text, without tags, styles and pictures."""
    body = page.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_writes_the_page_its_pictures_and_its_numbers(tmp_path, explanation):
    page = write(tmp_path / "new" / "folder", explanation, STUDENT, TEACHER, EXAMPLES)
    assert page == tmp_path / "new" / "folder" / "index.html"
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"index.html", "explanation.json", *(f"{name}.png" for name in ALL)}
    for path in page.parent.glob("*.png"):
        header = path.read_bytes()[:24]
        assert header.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", header[16:])
        assert 1000 <= width <= 2000
        assert 300 <= height <= 2000


@pytest.mark.usefixtures("_drawn_before")
def test_the_page_is_self_contained(tmp_path, explanation):
    page = write(tmp_path, explanation, STUDENT, TEACHER, EXAMPLES).read_text()
    references = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'> )]*)", page)
    assert len(references) == len(ALL)
    assert all(reference.startswith("data:image/png;base64,") for reference in references)
    assert "<script" not in page
    assert "@import" not in page


@pytest.mark.usefixtures("_drawn_before")
def test_the_page_shows_the_numbers(tmp_path, explanation, nothing):
    models = Model("student", "resnet8", "runs/one", 80.25), Model("teacher", "resnet20", "runs/two", None)
    about = {"dataset": "mnist", "split": "test", "classes": list(NAMES)}
    options = {"models": models, "sanity": nothing, "about": about}
    text = prose(write(tmp_path, explanation, STUDENT, TEACHER, EXAMPLES, **options))
    assert "90 examples · mnist, test · classes three, five, eight" in text
    assert "Student resnet8 runs/one Accuracy of the student 80.25 % on these images Teacher resnet20 runs/two" in text
    assert "Accuracy of the teacher" not in text
    for direction, words in zip(explanation[:2], ("The teacher groups, the", "The student groups, the"), strict=True):
        rate, chance = direction.success, direction.chance
        measured = f"{100 * rate.rate:.1f} % {rate.nearer} of {rate.pairs} {100 * rate.tied_share:.1f} %"
        assert re.search(rf"{words} \w+ does not 2 \d+ {measured} {100 * chance.mean:.1f} % ±", text)
    assert "Check: the teacher against itself 0 0 – 0 of 0 – 0.0 % ± 0.0 100.0 %" in text


@pytest.mark.usefixtures("_drawn_before")
def test_the_record_is_the_explanation(tmp_path, explanation):
    write(tmp_path, explanation, STUDENT, TEACHER, EXAMPLES)
    record = json.loads((tmp_path / "explanation.json").read_text())
    assert record["sanity"] is None
    assert record["beta"] == 5
    for name in ("teacher_unique", "student_unique"):
        direction, recorded = getattr(explanation, name), record[name]
        assert recorded["success"]["rate"] == direction.success.rate
        assert recorded["in_no_cluster"] == len(direction.null)
        for cluster, described in zip(direction.clusters, recorded["clusters"], strict=True):
            assert described["members"] == cluster.members.tolist()
            assert described["grid"] == cluster.grid.tolist()
            shares = described["labels"]
            assert sum(shares.values()) == pytest.approx(1)
            assert shares.get("five", 0) == pytest.approx((LABELS[cluster.members] == 1).mean())


def test_nothing_found_is_said_and_old_pictures_go(tmp_path, nothing):
    for name in ALL:
        (tmp_path / f"{name}.png").touch()
    text = prose(write(tmp_path, nothing, TEACHER, TEACHER, EXAMPLES))
    assert text.count("Nothing found") == 2
    assert "0 of 0" in text
    assert {path.name for path in tmp_path.glob("*.png")} == {"spaces-labels.png"}


@pytest.mark.parametrize(
    ("examples", "names"),
    [
        (Examples(), {name for name in ALL if name.startswith("spaces") and "labels" not in name}),
        (Examples(images=np.repeat(IMAGES, 3, axis=-1)), ALL - {"spaces-labels"}),
        (Examples(IMAGES, np.arange(COUNT), [str(i) for i in range(COUNT)]), ALL - {"spaces-labels"}),
    ],
    ids=["embeddings alone", "no labels, colours", "a class each"],
)
def test_pictures_of_what_is_known(explanation, examples, names):
    assert draw(explanation, STUDENT, TEACHER, examples).keys() == names


def test_all_pictures_are_drawn_where_all_is_known(pictures):
    assert pictures.keys() == ALL


def test_one_dimension_is_enough_to_be_drawn(explanation):
    assert draw(explanation, STUDENT[:, :1], TEACHER, EXAMPLES).keys() == ALL


def test_everything_is_escaped(tmp_path, explanation):
    hostile = "</style><script>alert('$x^')</script>"
    models = Model(hostile, hostile, hostile, 1.0), Model("teacher")
    about = {"dataset": hostile, "split": hostile, "classes": [hostile]}
    examples = Examples(IMAGES, LABELS, (hostile, "five", "$"))
    page = write(tmp_path, explanation, STUDENT, TEACHER, examples, models=models, about=about).read_text()
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "&lt;script&gt;" in page


def test_the_style_of_others_is_left_alone(explanation):
    before = dict(matplotlib.rcParams)
    draw(explanation, STUDENT, TEACHER, EXAMPLES)
    assert dict(matplotlib.rcParams) == before


def test_other_examples_are_refused(tmp_path, explanation):
    with pytest.raises(ValueError, match=r"\[89, 90\]"):
        write(tmp_path / "new", explanation, STUDENT, TEACHER, Examples(IMAGES[:-1]))
    assert not (tmp_path / "new").exists()


def test_class_names_that_the_font_lacks_are_numbers_in_pictures_and_long_ones_are_cut(explanation):
    names = ("猫", "a name of very many characters indeed", "acht")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = draw(explanation, STUDENT, TEACHER, EXAMPLES._replace(class_names=names))
    assert pictures["spaces-labels"].caption.endswith("In the pictures class 0 is 猫.")
    assert printable_names(names) == ["class 0", *names[1:]]
    assert [truncated(name, 8) for name in ("12345678", "123456789")] == ["12345678", "1234567…"]
