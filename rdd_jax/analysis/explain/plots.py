"""Pictures of an explanation: grids of images, and scatter plots of both embedding spaces."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rdd_jax.analysis.explain.explanation import Direction, Explanation
from rdd_jax.analysis.plots import escape_mathtext, png, printable_names, truncated

# Okabe and Ito's palette without the grey: distinguishable under every common colour blindness.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#333333")
# A second cycle through the colours has other shapes.
_MARKERS = ("o", "^", "s", "D", "v")
# Labels begin with another colour than clusters, to which they are unrelated.
_FIRST_OF_LABELS = 5
_GREY, _INK, _SOFT = "#c9ced3", "#333333", "#777777"
_STYLE = {"axes.edgecolor": "#999999", "axes.titlelocation": "left", "legend.frameon": False}
# The width in characters of the text beside a row of images.
_LINE_WIDTH = 46
# The longest names of classes, in characters: under an image, and elsewhere.
_UNDER_IMAGE, _IN_TEXT = 13, 28
# More could not be distinguished.
_MOST_CLASSES = len(_COLORS) * len(_MARKERS) // 2


class Examples(NamedTuple):
    """The images and labels of the examples.

    images: uint8[n,h,w,c], or None.
    labels: i32[n], indices of class_names, or None.
    class_names: of all classes.
    """

    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: Sequence[str] = ()


class Picture(NamedTuple):
    """A picture.

    png: the content of the PNG file.
    caption: an explanation of the picture.
    """

    png: bytes
    caption: str


def draw(
    explanation: Explanation,
    student_embeddings: np.ndarray,
    teacher_embeddings: np.ndarray,
    examples: Examples,
    titles: tuple[str, str] = ("student", "teacher"),
) -> dict[str, Picture]:
    """Draws the pictures of an explanation.

    Args:
        explanation: of these embeddings.
        student_embeddings, teacher_embeddings: f32[n,ds] and f32[n,dt].
        examples: without images there are no grids; without labels, or with too many classes, no spaces-labels.
        titles: the names of the student and of the teacher.

    Returns:
        The pictures by name: "spaces-labels" shows both spaces by label; "grids-teacher-unique",
        "spaces-teacher-unique" and the same of "student-unique" show the images and the places of a direction's
        clusters.
    """
    names, examples = examples.class_names, examples._replace(class_names=printable_names(examples.class_names))
    planes = tuple(_plane(embeddings) for embeddings in (student_embeddings, teacher_embeddings))
    directions = {"teacher-unique": explanation.teacher_unique, "student-unique": explanation.student_unique}
    pictures = {}
    with matplotlib.rc_context(_STYLE):
        if examples.labels is not None and len(np.unique(examples.labels)) <= _MOST_CLASSES:
            pictures["spaces-labels"] = _spaces_by_label(planes, examples, titles, names)
        for name, direction in directions.items():
            if direction.clusters and examples.images is not None:
                grouping, other = titles[::-1] if name == "teacher-unique" else titles
                pictures[f"grids-{name}"] = _grids(direction, examples, grouping, other)
            if direction.clusters:
                pictures[f"spaces-{name}"] = _spaces_by_cluster(planes, direction, titles)
    return pictures


def label_shares(labels: np.ndarray, class_names: Sequence[str]) -> list[tuple[str, float]]:
    """Returns the share in [0, 1] of every class that occurs among labels i32[m], in descending order."""
    counts = np.bincount(labels, minlength=len(class_names))
    order = np.argsort(-counts, kind="stable")
    return [(class_names[label], counts[label] / len(labels)) for label in order if counts[label]]


# ---- Grids


def _grids(direction: Direction, examples: Examples, grouping: str, other: str) -> Picture:
    """Draws a row of images for each cluster, with its description and its colour in the scatter plots on the left."""
    columns = max(len(cluster.grid) for cluster in direction.clusters)
    rows = len(direction.clusters)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.05, wspace=0, hspace=0)
    figure = Figure(figsize=(3.1 + 0.92 * columns, 0.45 + 1.16 * rows), layout=layout)
    panels = figure.subplots(rows, columns + 1, width_ratios=(3.1, *[0.92] * columns), squeeze=False)
    for number, ((text_panel, *cells), cluster) in enumerate(zip(panels, direction.clusters, strict=True)):
        _write_description(text_panel, number, direction, examples, grouping, other)
        for cell, position in zip(cells, cluster.grid, strict=False):
            _draw_image(cell, examples, position)
        for cell in cells[len(cluster.grid) :]:
            cell.set_axis_off()
    caption = (
        f"What the {grouping} groups and the {other} does not. Each row shows the images of one cluster with the "
        "strongest affinity to each other; 1 is neutral. The ranks say how near the row's images are to each other in "
        "either model: 1 is the nearest neighbour. The shares of classes are of the whole cluster."
    )
    return Picture(png(figure), caption)


def _write_description(
    axis: Axes, number: int, direction: Direction, examples: Examples, grouping: str, other: str
) -> None:
    cluster, (grouping_rank, other_rank) = direction.clusters[number], direction.grid_ranks[number]
    lines = [
        f"{len(cluster.members):,} images, mean affinity {cluster.mean_affinity:.1f}",
        f"median rank {grouping_rank:,.0f} in {grouping}, {other_rank:,.0f} in {other}",
    ]
    if examples.labels is not None:
        shares = label_shares(examples.labels[cluster.members], examples.class_names)
        words = [
            f"{truncated(name, _IN_TEXT)}:\N{NO-BREAK SPACE}{100 * share:.0f}\N{NO-BREAK SPACE}%"
            for name, share in shares[:3]
        ]
        lines.append(", ".join(words) + (f", {len(shares) - 3} more" if len(shares) > 3 else ""))
    lines = [part for line in lines for part in textwrap.wrap(line, _LINE_WIDTH)]
    axis.set_axis_off()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.plot(0.02, 0.84, color=_color(number), marker=_marker(number), markersize=8, clip_on=False)
    axis.text(0.08, 0.84, f"Cluster {number + 1}", va="center", color=_INK, weight="bold", fontsize=10)
    axis.text(0, 0.66, escape_mathtext("\n".join(lines)), va="top", color=_INK, fontsize=8.5, linespacing=1.45)


def _draw_image(axis: Axes, examples: Examples, position: int) -> None:
    assert examples.images is not None  # Grids are drawn of images alone.
    image = examples.images[position]
    axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])
    if examples.labels is not None:
        name = examples.class_names[examples.labels[position]]
        axis.set_xlabel(escape_mathtext(truncated(name, _UNDER_IMAGE)), fontsize=8, color=_SOFT, labelpad=2)


# ---- Spaces


def _plane(embeddings: np.ndarray) -> np.ndarray:
    """Projects embeddings to their first two principal components f32[n,2]; the second is 0 where there is only one."""
    from sklearn.decomposition import PCA

    components = min(2, *np.shape(embeddings))
    # The annotations of scikit-learn lack this solver, its fastest for many examples.
    plane = PCA(components, svd_solver="covariance_eigh").fit_transform(  # pyrefly: ignore[bad-argument-type]
        np.asarray(embeddings, np.float32)
    )
    return np.pad(plane, ((0, 0), (0, 2 - components)))


def _spaces_by_label(
    planes: Sequence[np.ndarray], examples: Examples, titles: Sequence[str], names: Sequence[str]
) -> Picture:
    assert examples.labels is not None
    figure, axes = _side_by_side(titles)
    for axis, plane in zip(axes, planes, strict=True):
        for number, label in enumerate(np.unique(examples.labels)):
            name, style = truncated(examples.class_names[label], _IN_TEXT), number + _FIRST_OF_LABELS
            _scatter(axis, plane[examples.labels == label], style, name, len(plane))
    _legend(figure, axes[0])
    caption = "Both spaces, by their first two principal components; coloured by label."
    numbered = [
        f"{printed} is {name}" for printed, name in zip(examples.class_names, names, strict=True) if printed != name
    ]
    return Picture(png(figure), f"{caption} In the pictures {', '.join(numbered)}." if numbered else caption)


def _spaces_by_cluster(planes: Sequence[np.ndarray], direction: Direction, titles: Sequence[str]) -> Picture:
    figure, axes = _side_by_side(titles)
    for axis, plane in zip(axes, planes, strict=True):
        null = plane[direction.null]
        axis.scatter(*null.T, s=_area(len(plane)), color=_GREY, linewidths=0, alpha=0.6, label="in no cluster")
        for number, cluster in enumerate(direction.clusters):
            _scatter(axis, plane[cluster.members], number, f"cluster {number + 1}", len(plane))
            ringed = {"s": 3 * _area(len(plane)) + 14, "facecolors": "none", "edgecolors": _INK, "linewidths": 0.9}
            axis.scatter(*plane[cluster.grid].T, marker=_marker(number), **ringed, zorder=3)
    _legend(figure, axes[0])
    caption = (
        "The same clusters in both spaces, by their first two principal components; the images of the grids are "
        "outlined. What one model groups lies together in its space and apart in the other's."
    )
    return Picture(png(figure), caption)


def _side_by_side(titles: Sequence[str]) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(10, 5), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
    axes = figure.subplots(1, 2)
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xticks=[], yticks=[])
        axis.set_title(escape_mathtext(title))
    return figure, axes


def _scatter(axis: Axes, points: np.ndarray, number: int, label: str, num_points: int) -> None:
    style = {"color": _color(number), "marker": _marker(number), "linewidths": 0, "alpha": 0.75}
    axis.scatter(*points.T, s=_area(num_points), label=escape_mathtext(label), zorder=2, **style)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    columns = min(len(labels), max(1, 120 // (max(map(len, labels)) + 6)), 10)  # The figure is 120 characters wide.
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, handletextpad=0.2)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set(sizes=[36], alpha=1)


def _area(num_points: int) -> float:
    return float(np.clip(12_000 / num_points, 4, 22))


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _marker(number: int) -> str:
    # Shapes differ as well as colours, for prints and readers without colours.
    return _MARKERS[(number + number // len(_COLORS)) % len(_MARKERS)]
