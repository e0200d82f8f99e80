"""The mode `--mode=explain`: explains the student of a run against its teacher, or another run's student."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rdd_jax.analysis.explain.explanation import explain
from rdd_jax.analysis.explain.options import Options, page_name
from rdd_jax.analysis.explain.page import Model, write
from rdd_jax.analysis.explain.plots import Examples
from rdd_jax.core import io, user_code
from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.core.progress import image_progress
from rdd_jax.data import datasets, loading, pipeline
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import TrainedModel, load_student, load_teacher, make_input_normalizer
from rdd_jax.steps.embedding import make_embed
from rdd_jax.steps.evaluation import make_evaluate

# 8 bytes a pair of examples: 3.2 GB.
_MOST_EXAMPLES = 20_000


class _Side(NamedTuple):
    """One of the two networks, not loaded yet.

    title: its name on the page.
    network: its name.
    place: the workdir or file that it, or the first of several teachers, is loaded from.
    config: of the run whose data it takes.
    load: loads it.
    """

    title: str
    network: str
    place: Path
    config: RunConfig
    load: Callable[[], TrainedModel]


class _Inputs(NamedTuple):
    """The inputs of an explanation and of its page; see `page.write`.

    embeddings: f32[n,d] each, of the student and of the other network.
    models: their descriptions.
    examples: the images and labels.
    about: the origin of the examples.
    """

    embeddings: tuple[np.ndarray, np.ndarray]
    models: tuple[Model, Model]
    examples: Examples
    about: dict[str, Any]


def run(workdir: Path, options: Options, config: RunConfig | None = None) -> Path:
    """Writes the explanation to workdir/explain/, in a folder named by the options.

    Args:
        workdir: of a run.
        options: the flags.
        config: of the run; by default that in its workdir.

    Returns:
        The path of the page.

    Raises:
        UserError: for runs, data or networks that are missing, damaged or do not fit each other, before anything is
            compiled or written.
    """
    sides = _sides(workdir, options.against, config or records.read_config(workdir))
    _check(sides, options)
    io.check_writable(workdir / layout.EXPLAIN)
    inputs = _embed(sides, options)
    student, teacher = inputs.embeddings
    return write(
        workdir / layout.EXPLAIN / page_name(options, workdir, inputs.about["classes"]),
        explain(student, teacher, num_clusters=options.clusters),
        student,
        teacher,
        inputs.examples,
        models=inputs.models,
        sanity=explain(teacher, teacher, num_clusters=options.clusters),
        about=inputs.about,
    )


def _sides(workdir: Path, against: str, config: RunConfig) -> tuple[_Side, _Side]:
    """Returns the student and the network that it is compared with."""
    student = _student(workdir, "student", config)
    if against:
        other = records.read_config(Path(against))
        if other.data.folder == records.read_config(workdir).data.folder:  # A new place of the data holds for both.
            other = other.replaced({"data.folder": config.data.folder})
        return student, _student(Path(against), "other model", other)
    teachers = naming.teachers(config, workdir)
    if not teachers:
        raise UserError(f"the run in {workdir} has no teacher: name another run by --against=WORKDIR")
    for network, place in teachers:
        records.check_network(network.name, workdir / layout.CONFIG)
        if not os.path.exists(place):
            raise UserError(
                f"the teacher of {workdir} is not in {place}: put it there, or name a run by --against=WORKDIR"
            )

    def load() -> TrainedModel:
        teacher = load_teacher(config, workdir)
        assert teacher is not None  # There is a path to it.
        return teacher

    name = " + ".join(user_code.short_name(network.name) for network, _ in teachers)
    return student, _Side("teacher", name, teachers[0].path, config, load)


def _student(workdir: Path, title: str, config: RunConfig) -> _Side:
    return _Side(
        title,
        user_code.short_name(config.student.name),
        workdir,
        config,
        lambda: load_student(workdir, config.dtype, config.student),
    )


def _check(sides: tuple[_Side, _Side], options: Options) -> None:
    """Raises UserError for mistakes that show without reading data or networks."""
    if options.dataset and options.dataset not in datasets.NAMES:
        raise UserError(unknown_name_message("data set", options.dataset, datasets.NAMES))
    if options.clusters < 1:
        raise UserError(f"--clusters must be at least 1; got {options.clusters}")
    if not _min_examples(options) <= options.examples <= _MOST_EXAMPLES:
        raise UserError(
            f"--examples must be in [{_min_examples(options)}, {_MOST_EXAMPLES}] for {options.clusters} clusters; got "
            f"{options.examples}"
        )
    name = options.dataset or loading.dataset_name(sides[0].config.data)
    shape = (datasets.describe(name) if options.dataset else loading.describe(sides[0].config.data)).image_shape
    for side in sides:
        own = loading.describe(side.config.data).image_shape
        if own != shape:
            raise UserError(
                f"the {side.network} in {side.place} takes images of {_size(own)}, and those of {name} are "
                f"{_size(shape)}: choose a --dataset, and two networks, of one size"
            )
        loading.check(side.config.data, side.config.augment)
    if options.dataset:
        datasets.check(options.dataset)


def _min_examples(options: Options) -> int:
    """Returns two images for each cluster and for the null cluster."""
    return 2 * (options.clusters + 1)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _choose(dataset: datasets.Dataset, options: Options) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[str]]:
    """Chooses the images to compare.

    Returns:
        (indices in the split i64[n], images uint8[n,h,w,c], labels i32[n] or None for images without, names of the
        classes in `options`).
    """
    test = options.split == "test"
    images, labels = (
        (dataset.test_images, dataset.test_labels) if test else (dataset.train_images, dataset.train_labels)
    )
    wanted = sorted({_label(name, dataset.class_names) for name in options.classes})
    positions = np.flatnonzero(np.isin(labels, wanted)) if wanted else np.arange(len(labels))
    positions = positions[: options.examples]
    if len(positions) < _min_examples(options):
        raise UserError(
            f"{options.clusters} clusters need {_min_examples(options)} images, and {dataset.name}'s {options.split} "
            f"split has {len(positions)} of these classes: choose more --classes, another --split or fewer --clusters"
        )
    chosen = labels[positions] if labels.min() >= 0 else None
    return positions, images[positions], chosen, [dataset.class_names[label] for label in wanted]


def _label(name: str, class_names: tuple[str, ...]) -> int:
    """Returns the label of a class by its name, or by the label itself in digits."""
    if name in class_names:
        return class_names.index(name)
    if name.isdecimal() and int(name) < len(class_names):
        return int(name)
    raise UserError(unknown_name_message("class", name, class_names))


def _embed(sides: tuple[_Side, _Side], options: Options) -> _Inputs:
    """Reads the data and the networks, and embeds the images by both."""
    dataset = datasets.load(options.dataset) if options.dataset else loading.load(sides[0].config.data)
    positions, images, labels, class_names = _choose(dataset, options)
    loaded = [side.load() for side in sides]
    embeddings, models = [], []
    for side, trained in zip(sides, loaded, strict=True):
        own = loading.load(side.config.data)
        split = pipeline.put(images, labels)
        with image_progress("embedding") as on_batch:
            embedded = make_embed(trained.network, make_input_normalizer(own))(trained.variables, split, on_batch)
        embeddings.append(np.asarray(embedded, np.float32))
        if not np.isfinite(embeddings[-1]).all():
            raise UserError(
                f"the {side.network} in {side.place} has diverged, its embeddings are not finite: train anew"
            )
        accuracy = None
        if labels is not None and (own.name, own.class_names) == (dataset.name, dataset.class_names):
            evaluate = make_evaluate(trained.network, make_input_normalizer(own))
            accuracy = evaluate(trained.variables, split).metrics["accuracy"]
        models.append(Model(side.title, side.network, str(side.place), accuracy))
    about = {"dataset": dataset.name, "split": options.split, "classes": class_names, "positions": positions.tolist()}
    return _Inputs(tuple(embeddings), tuple(models), Examples(images, labels, dataset.class_names), about)
