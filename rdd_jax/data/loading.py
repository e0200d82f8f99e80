"""Loading of the data set that `DataOptions` name, in memory or streamed.

It is one of `datasets`, a data set that TFDS has prepared, the user's own arrays (`own_data`), or a folder of image
files.
"""

import functools
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import array_cache, datasets, origins, own_data, splits, tfds
from rdd_jax.data.datasets import Dataset, DatasetInfo
from rdd_jax.data.folders import common_size
from rdd_jax.data.options import AugmentOptions, DataOptions
from rdd_jax.data.origins import DatasetOrigin
from rdd_jax.data.resize import ResizeRule, usual_crop_share
from rdd_jax.data.sources import Source
from rdd_jax.data.streaming import Stream

_MOST_BYTES = 2 * 10**9  # Of decoded images in memory.


def dataset_name(options: DataOptions) -> str:
    """Returns the name of a data set, or of a folder, with "_" for characters that do not fit into file names."""
    name = Path(options.folder).name if options.folder else options.dataset
    return re.sub(r"[^\w.-]", "_", own_data.short_name(name) if own_data.is_own(name) else name)


def describe(options: DataOptions) -> DatasetInfo:
    """Returns the sizes of a data set, without decoding an image.

    Raises:
        UserError: if the data cannot be found, or images differ in size and `image_size` is 0.
        ValueError: for an unknown name.
    """
    share = options.validation
    if not _has_origin(options):
        info = datasets.describe(options.dataset)
        return info._replace(num_train=len(_hold_out(options.dataset, share)[0])) if share else info
    origin = _origin(options)
    return DatasetInfo(len(origin.train), len(origin.test), _image_shape(options, origin), len(origin.class_names))


def class_names(options: DataOptions, info: DatasetInfo) -> tuple[str, ...]:
    """Returns the class names; for `datasets`, which are not read for it, the set's name and number of classes."""
    named = options.folder or options.dataset not in datasets.NAMES
    return _origin(options).class_names if named else (options.dataset, str(info.num_classes))


def fingerprint(options: DataOptions) -> dict[str, Any]:
    """Makes the record by which a run recognises its data, and notices images that were added or removed.

    A folder or a file that is moved or renamed keeps its fingerprint. Data sets of a fixed version have none: {}.
    """
    if not _has_origin(options):
        return {}
    origin = _origin(options)
    files = [path.removeprefix(origin.path) for path in origin.files]
    return {
        "images": len(origin.train),
        "test_images": len(origin.test),
        "version": "" if origin.files or origin.checksum else Path(origin.path).name,
        "resize": resize_rule(options)._asdict(),
        "image_shape": list(_image_shape(options, origin)),
        "class_names": list(origin.class_names),
        "files": origin.checksum or hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def check(options: DataOptions, augment: AugmentOptions) -> None:
    """Raises UserError or ValueError for data that cannot be found, or options that do not fit together."""
    if not (options.folder or options.dataset):
        raise UserError(f"which images? {origins.LAYOUT}")
    check_name(options)
    if not is_streamed(options):
        _check_memory(options, augment)
    describe(options)


def has_validation(options: DataOptions) -> bool:
    """Returns True where there are validation images besides the test images.

    A folder without a test split has none: there the images that are held out are the test images.
    """
    return bool(options.validation) and (not _has_origin(options) or _origin(options).validation is not None)


def is_labelled(options: DataOptions) -> bool:
    """Returns False where the training images have no labels."""
    return not _has_origin(options) or _origin(options).is_labelled


def check_name(options: DataOptions, path: Path | None = None) -> None:
    """Raises UserError for an unknown data set.

    Args:
        options: of the data.
        path: the file that names the data set, for the message; None for the command line.
    """
    if not _has_origin(options) and options.dataset not in datasets.NAMES:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}{unknown_name_message('data set', options.dataset, datasets.NAMES)}; images of your own come from "
            "--config.dataset=FILE.npz, or a --config.data.folder=DIR with DIR/CLASS/*.jpg"
        )


def _check_memory(options: DataOptions, augment: AugmentOptions) -> None:
    """Raises UserError or ValueError for data that cannot be kept in memory."""
    unread = {"data.workers": options.workers, "augment.resized_crop": augment.resized_crop}
    if not _has_origin(options):
        unread |= {f"data.{key}": getattr(options, key) for key in ("image_size", "crop_share", "test_split")}
    for key, value in unread.items():
        if value:
            raise ValueError(f"{key} is for streamed data: set --config.data.loading=stream")
    if not _has_origin(options):
        datasets.check(options.dataset)
        return
    info = describe(options)
    size = (info.num_train + info.num_test) * math.prod(info.image_shape)
    if size > _MOST_BYTES:
        raise UserError(
            f"{dataset_name(options)} takes {size / 1e9:.1f} GB in memory, and at most {_MOST_BYTES / 1e9:.0f} are "
            "kept there: set --config.data.loading=stream"
        )


def load(options: DataOptions, *, resized_crop: bool = False, seed: int = 0) -> Dataset:
    """Returns the data set, its images in memory or streamed. Errors are those of `describe` and `datasets.load`.

    Args:
        options: of the data.
        resized_crop: whether training images that are streamed are random parts, scaled.
        seed: of those parts.

    Raises:
        UserError: if images have no label, as in test sets whose labels are withheld.
        DataReadError: if images are loaded into memory and one cannot be read.
    """
    if not _has_origin(options):
        return _with_validation(datasets.load(options.dataset), options.validation)
    origin = _origin(options)
    shape = _image_shape(options, origin)
    rule = resize_rule(options) if options.image_size else None

    def images(source: Source) -> Stream | np.ndarray:
        crops = {"rule": rule, "resized_crop": resized_crop, "seed": seed}
        stream = Stream(source, shape, workers=options.workers, **crops)
        return stream if is_streamed(options) else stream[:]

    return Dataset(
        name=dataset_name(options),
        train_images=images(origin.train),
        train_labels=_labels(origin, origin.train),
        test_images=images(origin.test),
        test_labels=_labels(origin, origin.test),
        class_names=origin.class_names,
        mean=origin.mean,
        std=origin.std,
        validation_images=images(origin.validation) if origin.validation else None,
        validation_labels=_labels(origin, origin.validation) if origin.validation else None,
    )


def _with_validation(dataset: Dataset, share: float) -> Dataset:
    """Returns the data set with a share of its training images held out."""
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
def _hold_out(dataset: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns `splits.hold_out` of the labels of a data set in memory."""
    return splits.hold_out(datasets.load(dataset).train_labels, share)


def _labels(origin: DatasetOrigin, source: Source) -> np.ndarray:
    labels = source.labels()
    if source is origin.train and not origin.is_labelled:
        return labels
    wrong = np.flatnonzero((labels < 0) | (labels >= len(origin.class_names)))
    if len(wrong):
        raise UserError(
            f"{source.name(wrong[0])} and {len(wrong) - 1} more have no label: choose another --config.data.test_split"
        )
    return labels


def is_streamed(options: DataOptions) -> bool:
    """Returns True where images are read in every epoch, instead of once into memory."""
    return options.loading == "stream"


def _has_origin(options: DataOptions) -> bool:
    """Returns True for a folder, an .npz file, a streamed data set and one that TFDS prepared, all of `origins`.

    Otherwise the data set is one that `datasets` loads whole, or its name is unknown.
    """
    if options.folder or is_streamed(options) or own_data.is_own(options.dataset):
        return True
    return options.dataset not in datasets.NAMES and bool(tfds.latest_version(tfds.data_root(None) / options.dataset))


def resize_rule(options: DataOptions) -> ResizeRule:
    """Returns the rule by which images are scaled to the networks' size; errors are those of `describe`."""
    height, width, _ = describe(options).image_shape
    return ResizeRule(height, width, options.crop_share or usual_crop_share(height, width))


def _image_shape(options: DataOptions, origin: DatasetOrigin) -> tuple[int, int, int]:
    size, (height, width, channels) = options.image_size, origin.image_shape
    if size:
        return (size, size, channels)
    if origin.files:
        return (*common_size(origin.files), channels)
    if height is None or width is None:
        raise UserError(
            f"the images of {dataset_name(options)} differ in size: set --config.data.image_size, as in 224"
        )
    return height, width, channels


def _origin(options: DataOptions) -> DatasetOrigin:
    return origins.find(
        options.dataset,
        options.folder,
        options.test_split,
        options.validation,
        tfds.data_root(None),
        array_cache.cache_root(),
    )
