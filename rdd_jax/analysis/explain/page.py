"""An explanation as files: pictures, a self-contained page, and a JSON record of all numbers."""

import base64
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from rdd_jax.analysis.explain.explanation import Direction, Explanation
from rdd_jax.analysis.explain.plots import Examples, draw, label_shares
from rdd_jax.core import io
from rdd_jax.runs import layout

_DIRECTIONS = ("teacher-unique", "student-unique")
_PICTURES = ("spaces-labels", *(f"{kind}-{direction}" for kind in ("grids", "spaces") for direction in _DIRECTIONS))


class Model(NamedTuple):
    """One of the two models.

    title: the name of the model on the page.
    network: the name of its architecture, "" where unknown.
    place: the path that it was loaded from, "" where unknown.
    accuracy: on the examples, in percent; None where unknown.
    """

    title: str
    network: str = ""
    place: str = ""
    accuracy: float | None = None


def write(
    folder: str | Path,
    explanation: Explanation,
    student_embeddings: np.ndarray,
    teacher_embeddings: np.ndarray,
    examples: Examples | None = None,
    *,
    models: tuple[Model, Model] = (Model("student"), Model("teacher")),
    sanity: Explanation | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Writes index.html, explanation.json and the pictures into a folder.

    Args:
        folder: is created where it does not exist; an explanation in it is replaced.
        explanation: of these embeddings.
        student_embeddings, teacher_embeddings: f32[n,ds] and f32[n,dt].
        examples: the images and labels of the examples, where there are any.
        models: the student and the teacher.
        sanity: the explanation of one model against itself, shown for comparison.
        about: the origin of the examples, as far as known: dataset, split, classes, positions in the split.

    Returns:
        The path of index.html.

    Raises:
        ValueError: if the numbers of embeddings, images or labels differ.
    """
    examples = examples or Examples()
    lengths = {len(rows) for rows in (student_embeddings, teacher_embeddings, *examples[:2]) if rows is not None}
    if len(lengths) != 1:
        raise ValueError(f"embeddings, images and labels must be of the same examples; got {sorted(lengths)} of them")
    folder, titles = Path(folder), (models[0].title, models[1].title)
    pictures = draw(explanation, student_embeddings, teacher_embeddings, examples, titles)
    record = _record(explanation, examples, models, sanity, {"count": lengths.pop(), **(about or {})})
    for name in _PICTURES:
        if name in pictures:
            io.write_bytes(folder / f"{name}.png", pictures[name].png)
        else:  # A previous explanation may have had this picture.
            (folder / f"{name}.png").unlink(missing_ok=True)
    io.write_json(folder / layout.EXPLANATION, record)
    encoded = {
        name: {"base64": base64.b64encode(picture.png).decode(), "caption": picture.caption}
        for name, picture in pictures.items()
    }
    io.write_text(folder / layout.EXPLANATION_PAGE, _html(record, encoded, titles))
    return folder / layout.EXPLANATION_PAGE


def _record(
    explanation: Explanation,
    examples: Examples,
    models: tuple[Model, Model],
    sanity: Explanation | None,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Returns the content of explanation.json; members and grids are indices of the embeddings."""
    return {
        "examples": {"dataset": "", "split": "", "classes": [], **about},
        "models": [model._asdict() for model in models],
        "gamma": explanation.gamma,
        "beta": explanation.beta,
        "teacher_unique": _direction(explanation.teacher_unique, examples),
        "student_unique": _direction(explanation.student_unique, examples),
        "sanity": _direction(sanity.teacher_unique, examples) if sanity else None,
    }


def _direction(direction: Direction, examples: Examples) -> dict[str, Any]:
    success = direction.success
    clusters = []
    for cluster, (grouping, other) in zip(direction.clusters, direction.grid_ranks, strict=True):
        described: dict[str, Any] = {"size": len(cluster.members), "mean_affinity": cluster.mean_affinity}
        if examples.labels is not None:
            described["labels"] = dict(label_shares(examples.labels[cluster.members], examples.class_names))
        described["median_rank_within_grid"] = {"in_the_model_that_groups": grouping, "in_the_other": other}
        clusters.append({**described, "grid": cluster.grid.tolist(), "members": cluster.members.tolist()})
    return {
        "success": {**success._asdict(), "rate": success.rate, "tied_share": success.tied_share},
        "chance": direction.chance._asdict(),
        "in_no_cluster": len(direction.null),
        "clusters": clusters,
    }


def _html(record: dict[str, Any], pictures: dict[str, dict[str, str]], titles: tuple[str, str]) -> str:
    loader = jinja2.PackageLoader("rdd_jax.analysis")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent, accuracy=lambda value: f"{value:.2f} %")
    student, teacher = titles
    return environment.get_template("explain.html.j2").render(
        record=record, pictures=pictures, student=student, teacher=teacher
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _percent(share: float | None) -> str:
    """Formats a share in [0, 1] as a percentage; None as a dash."""
    return "–" if share is None else f"{100 * share:.1f} %"
