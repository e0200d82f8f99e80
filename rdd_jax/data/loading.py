"""The data that a configuration asks for: in memory or streamed, from the embedded sets, TFDS or a folder of images."""

import functools
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import datasets, origins, splits, tfds
from rdd_jax.data.datasets import Dataset, DatasetInfo
from rdd_jax.data.folders import common_size
from rdd_jax.data.origins import Origin
from rdd_jax.data.resize import ResizeRule, usual_crop_share
from rdd_jax.data.sources import Source
from rdd_jax.data.streaming import Stream

LOADINGS = ("memory", "stream")
_MOST_WORKERS = 256
_MOST_BYTES = 2 * 10**9  # Of decoded images in memory.


def options() -> dict[str, str | int | float]:
    """The options of where data come from, and their defaults."""
    return {
        **{"loading": "memory", "folder": "", "image_size": 0, "crop_share": 0.0},
        **{"test_split": "", "validation": 0.0, "workers": 0},
    }


def name(config: ml_collections.ConfigDict) -> str:
    """What the data set is called: by TFDS, here, or by its folder."""
    folder = config.data.folder
    return re.sub(r"[^\w.-]", "_", Path(folder).name if folder else config.dataset)


def describe(config: ml_collections.ConfigDict) -> DatasetInfo:
    """The sizes of the data, from a table, a description or the list of files; no image is decoded.

    Raises:
        UserError: where the data cannot be found, or the images differ in size and no size is asked for.
        ValueError: for an unknown name.
    """
    share = config.data.validation
    if _is_tabled(config):
        info = datasets.describe(config.dataset)
        return info._replace(num_train=len(_division(config.dataset, share)[0])) if share else info
    origin = _origin(config)
    return DatasetInfo(len(origin.train), len(origin.test), _image_shape(config, origin), len(origin.class_names))


def class_names(config: ml_collections.ConfigDict, info: DatasetInfo) -> tuple[str, ...]:
    """The classes, as far as they can be told without reading a set that is kept in memory."""
    named = config.data.folder or config.dataset not in datasets.NAMES
    return _origin(config).class_names if named else (config.dataset, str(info.num_classes))


def fingerprint(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Makes the record by which data are told from others, and from themselves after images were added or removed.

    A folder that is moved or renamed keeps it. Of sets whose versions are fixed nothing needs to be told: {}.
    """
    if _is_tabled(config):
        return {}
    origin = _origin(config)
    files = [path.removeprefix(origin.place) for path in origin.files]
    return {
        "images": len(origin.train),
        "test_images": len(origin.test),
        "version": "" if origin.files else Path(origin.place).name,
        "resize": resize_rule(config)._asdict(),
        "image_shape": list(_image_shape(config, origin)),
        "class_names": list(origin.class_names),
        "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def check_options(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for an option of the data that is impossible whatever the data are."""
    options = config.data
    if options.loading not in LOADINGS:
        raise ValueError(unknown_name_message("data.loading", options.loading, LOADINGS))
    if not (0 <= options.workers <= _MOST_WORKERS and options.image_size >= 0):
        raise ValueError(
            f"data.workers must be in [0, {_MOST_WORKERS}] and data.image_size not negative; got {options.workers} and "
            f"{options.image_size}"
        )
    if not 0 <= options.crop_share <= 1:
        raise ValueError(f"data.crop_share is a share in (0, 1], or 0 for the usual one; got {options.crop_share}")
    if not 0 <= options.validation < 1:
        raise ValueError(f"data.validation is a share in [0, 1); got {options.validation}")


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UserError or ValueError for data that cannot be had, or options that do not go together."""
    check_options(config)
    options = config.data
    if not (options.folder or config.dataset):
        raise UserError(f"which images? {origins.LAYOUT}")
    check_name(config)
    if not is_streamed(config):
        _check_memory(config)
    describe(config)


def has_validation(config: ml_collections.ConfigDict) -> bool:
    """Tells whether images are held out besides those to test on, as never of a folder without a test split."""
    return bool(config.data.validation) and (_is_tabled(config) or _origin(config).validation is not None)


def check_name(config: ml_collections.ConfigDict, path: Path | None = None) -> None:
    """Raises UserError for an unknown data set; `path` is the file that names it, if not the command line."""
    if _is_tabled(config) and config.dataset not in datasets.NAMES:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}{unknown_name_message('data set', config.dataset, datasets.NAMES)}; images of your own come from "
            "a --config.data.folder=DIR with DIR/CLASS/*.jpg"
        )


def _check_memory(config: ml_collections.ConfigDict) -> None:
    """Raises UserError or ValueError for data that cannot be kept in memory."""
    unread = {"data.workers": config.data.workers, "augment.resized_crop": config.augment.resized_crop}
    if _is_tabled(config):
        unread |= {f"data.{key}": config.data[key] for key in ("image_size", "crop_share", "test_split")}
    for key, value in unread.items():
        if value:
            raise ValueError(f"{key} is for streamed data: set --config.data.loading=stream")
    if _is_tabled(config):
        datasets.check(config.dataset)
        return
    info = describe(config)
    size = (info.num_train + info.num_test) * math.prod(info.image_shape)
    if size > _MOST_BYTES:
        raise UserError(
            f"{name(config)} takes {size / 1e9:.1f} GB in memory, and at most {_MOST_BYTES / 1e9:.0f} are kept there: "
            "set --config.data.loading=stream"
        )


def load(config: ml_collections.ConfigDict) -> Dataset:
    """The data set, its images in memory or streamed. Errors are those of `describe` and `datasets.load`.

    Raises:
        UserError: where labels of what is streamed are none, as of test sets whose answers are kept back.
        DataReadError: where the images are kept in memory and one cannot be read.
    """
    if _is_tabled(config):
        return _without_validation(datasets.load(config.dataset), config.data.validation)
    origin = _origin(config)
    shape = _image_shape(config, origin)
    rule = resize_rule(config) if config.data.image_size else None

    def images(source: Source | None) -> Stream | np.ndarray | None:
        if source is None:
            return None
        options = {"rule": rule, "resized_crop": config.augment.resized_crop, "seed": config.seed}
        stream = Stream(source, shape, workers=config.data.workers, **options)
        return stream if is_streamed(config) else stream[:]

    return Dataset(
        name=name(config),
        train_images=images(origin.train),
        train_labels=_labels(origin, origin.train),
        test_images=images(origin.test),
        test_labels=_labels(origin, origin.test),
        class_names=origin.class_names,
        mean=origin.mean,
        std=origin.std,
        validation_images=images(origin.validation),
        validation_labels=_labels(origin, origin.validation) if origin.validation else None,
    )


def _without_validation(dataset: Dataset, share: float) -> Dataset:
    """The data set with a share of its training images held out."""
    if not share:
        return dataset
    train, validation = splits.hold_out(dataset.train_labels, share)
    return dataset._replace(
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        validation_images=dataset.train_images[validation],
        validation_labels=dataset.train_labels[validation],
    )


@functools.lru_cache(maxsize=8)
def _division(dataset: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """As `splits.hold_out` of the labels of a set that is kept in memory."""
    return splits.hold_out(datasets.load(dataset).train_labels, share)


def _labels(origin: Origin, source: Source) -> np.ndarray:
    labels = source.labels()
    wrong = np.flatnonzero((labels < 0) | (labels >= len(origin.class_names)))
    if len(wrong):
        raise UserError(
            f"{source.name(wrong[0])} and {len(wrong) - 1} more have no label: choose another --config.data.test_split"
        )
    return labels


def is_streamed(config: ml_collections.ConfigDict) -> bool:
    """Whether the images are read as they are needed."""
    return config.data.loading == "stream"


def _is_tabled(config: ml_collections.ConfigDict) -> bool:
    """Tells whether the data are one of the sets that `datasets` describes and loads whole."""
    held = config.dataset in datasets.NAMES or not tfds.newest(tfds.root(None) / config.dataset)
    return held and not config.data.folder and not is_streamed(config)


def resize_rule(config: ml_collections.ConfigDict) -> ResizeRule:
    """Returns the rule by which images are scaled to the networks' size; errors are those of `describe`."""
    height, width, _ = describe(config).image_shape
    return ResizeRule(height, width, config.data.crop_share or usual_crop_share(height, width))


def _image_shape(config: ml_collections.ConfigDict, origin: Origin) -> tuple[int, int, int]:
    size, channels = config.data.image_size, origin.image_shape[-1]
    if size:
        return (size, size, channels)
    if origin.files:
        return (*common_size(origin.files), channels)
    if None in origin.image_shape:
        raise UserError(f"the images of {name(config)} differ in size: set --config.data.image_size, as in 224")
    return origin.image_shape


def _origin(config: ml_collections.ConfigDict) -> Origin:
    options = config.data
    return origins.find(
        config.dataset,
        options.folder,
        options.test_split,
        options.validation,
        tfds.root(None),
        datasets.cache_root(),
    )
