"""The data that a configuration asks for: a set that is kept in memory, or any that is streamed.

Any data set of TFDS whose examples are an image and a label is streamed by its name, as prepared in the array_record
format; and any folder DIR/train/CLASS/*.jpg with DIR/validation, DIR/val or DIR/test beside DIR/train.
"""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from rdd_jax.data import datasets, prepared, small
from rdd_jax.data.datasets import DataNotPrepared, Dataset, DatasetInfo
from rdd_jax.data.folders import Files, class_folders, common_size
from rdd_jax.data.resize import ResizeRule, usual_crop_share
from rdd_jax.data.sources import Arrays, Chosen, Records, Source
from rdd_jax.data.stream import Stream
from rdd_jax.errors import UserError, unknown

LOADINGS = ("memory", "stream")
# Of several the first is taken: where there is a split to choose by, the answers of the other may be kept back.
_TEST_SPLITS = ("validation", "val", "test")
# Of ImageNet, by channels: for whatever has no own.
_MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
_STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
_MOST_WORKERS = 256


class _Origin(NamedTuple):
    """Where a streamed data set comes from.

    place: its folder; "" where it is embedded.
    image_shape: None where images differ.
    """

    place: str
    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def options() -> dict[str, str | int]:
    """The options of where data come from, and their defaults."""
    return {"loading": "memory", "folder": "", "image_size": 0, "crop_share": 0.0, "test_split": "", "workers": 0}


def name(config: ml_collections.ConfigDict) -> str:
    """What the data set is called: by TFDS, here, or by its folder."""
    folder = config.data.folder
    return re.sub(r"[^\w.-]", "_", Path(folder).name if folder else config.dataset)


def describe(config: ml_collections.ConfigDict) -> DatasetInfo:
    """The sizes of the data; of what is streamed, from its description or the list of its files.

    Raises:
        UserError: where what is streamed cannot be found, or its images are of no one size.
        ValueError: for an unknown name of what is not streamed.
    """
    if not is_streamed(config):
        return datasets.describe(config.dataset)
    origin = _origin(config)
    return DatasetInfo(len(origin.train), len(origin.test), _image_shape(config, origin), len(origin.class_names))


def class_names(config: ml_collections.ConfigDict, info: DatasetInfo) -> tuple[str, ...]:
    """The classes, as far as they can be told without reading a set that is kept in memory."""
    named = config.data.folder or config.dataset not in datasets.NAMES
    return _origin(config).class_names if named else (config.dataset, str(info.num_classes))


def fingerprint(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What tells streamed data from others, or from what they were before images were added or taken away.

    In memory there are but sets whose versions are fixed, of which nothing needs to be told: {}.
    """
    if not is_streamed(config):
        return {}
    origin = _origin(config)
    told = [origin.class_names, *(getattr(source, "paths", ()) for source in (origin.train, origin.test))]
    return {
        "images": len(origin.train),
        "test_images": len(origin.test),
        "version": Path(origin.place).name,
        "resize": resize_rule(config)._asdict(),
        "names": hashlib.sha256(json.dumps([_below(origin.place, names) for names in told]).encode()).hexdigest(),
    }


def _below(place: str, names: Sequence[str]) -> list[str]:
    """The names without the folder that they begin with, so that it may be moved."""
    return [name.removeprefix(place) for name in names]


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UserError or ValueError for data that cannot be had, or options that do not go together."""
    options = config.data
    if options.loading not in LOADINGS:
        raise ValueError(unknown("data.loading", options.loading, LOADINGS))
    if not (0 <= options.workers <= _MOST_WORKERS and options.image_size >= 0):
        raise ValueError(
            f"data.workers must be in [0, {_MOST_WORKERS}] and data.image_size not negative; got {options.workers} and "
            f"{options.image_size}"
        )
    if not 0 <= options.crop_share <= 1:
        raise ValueError(f"data.crop_share is a share in (0, 1], or 0 for the usual one; got {options.crop_share}")
    if is_streamed(config):
        describe(config)
        return
    streamed = {f"data.{key}": value for key, value in options.items() if key != "loading"}
    for key, value in {**streamed, "augment.resized_crop": config.augment.resized_crop}.items():
        if value:
            raise ValueError(f"{key} is for streamed data: set --config.data.loading=stream")
    if config.dataset not in datasets.NAMES and prepared.newest(prepared.root(None) / config.dataset):
        raise ValueError(f"{config.dataset} is not kept in memory: set --config.data.loading=stream")
    datasets.check(config.dataset)


def load(config: ml_collections.ConfigDict) -> Dataset:
    """The data set, its images in memory or streamed. Errors are those of `describe` and `datasets.load`.

    Raises:
        UserError: where labels of what is streamed are none, as of test sets whose answers are kept back.
    """
    if not is_streamed(config):
        return datasets.load(config.dataset)
    origin = _origin(config)
    shape = _image_shape(config, origin)

    def stream(source: Source) -> Stream:
        return Stream(
            source,
            shape,
            rule=resize_rule(config) if config.data.image_size else None,
            resized_crop=config.augment.resized_crop,
            seed=config.seed,
            workers=config.data.workers,
        )

    return Dataset(
        name=name(config),
        train_images=stream(origin.train),
        train_labels=_labels(origin, origin.train),
        test_images=stream(origin.test),
        test_labels=_labels(origin, origin.test),
        class_names=origin.class_names,
        mean=origin.mean,
        std=origin.std,
    )


def _labels(origin: _Origin, source: Source) -> np.ndarray:
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


def resize_rule(config: ml_collections.ConfigDict) -> ResizeRule:
    """How an image of any size comes to the networks' size; errors are those of `describe`."""
    height, width, _ = describe(config).image_shape
    return ResizeRule(height, width, config.data.crop_share or usual_crop_share(height, width))


def _image_shape(config: ml_collections.ConfigDict, origin: _Origin) -> tuple[int, int, int]:
    size, channels = config.data.image_size, origin.image_shape[-1]
    if size:
        return (size, size, channels)
    if isinstance(origin.train, Files):
        return (*_common_size(origin.train, origin.test), channels)
    if None in origin.image_shape:
        raise UserError(f"the images of {name(config)} differ in size: set --config.data.image_size, as in 224")
    return origin.image_shape


@functools.lru_cache(maxsize=8)  # Reading thousands of headers takes a while.
def _common_size(train: Files, test: Files) -> tuple[int, int]:
    return common_size([*train.paths, *test.paths])


def _origin(config: ml_collections.ConfigDict) -> _Origin:
    folder, split = config.data.folder, config.data.test_split
    return _find(config.dataset, folder, split, prepared.root(None), datasets.cache_root())


@functools.lru_cache(maxsize=8)  # Listing a million files takes a while.
def _find(dataset: str, folder: str, test_split: str, data_dir: Path, cache_dir: Path) -> _Origin:
    if folder:
        return _find_files(Path(folder), test_split)
    if dataset == "digits":
        _test_split(("train", "test"), test_split, dataset)
        digits = datasets.load(dataset)
        train = Arrays("digits train", digits.train_images, digits.train_labels)
        test = Arrays("digits test", digits.test_images, digits.test_labels)
        return _Origin("", train, test, digits.class_names, digits.train_images.shape[1:], digits.mean, digits.std)
    if dataset == "cifar100_small":
        return _find_small(_find("cifar100", "", test_split, data_dir, cache_dir))
    if dataset in datasets.NAMES:
        place = datasets.prepared_folder(dataset)
        if not prepared.holds_array_records(place):
            raise DataNotPrepared(
                f"{dataset} is streamed from what TFDS has prepared as array_record, and there is nothing at {place}: "
                "set TFDS_DATA_DIR, or --config.data.loading=memory"
            )
        origin = _find_records(place, test_split, cache_dir)
        mean, std = datasets.normalization(dataset)
        return origin._replace(mean=mean, std=std)
    place = prepared.newest(data_dir / dataset)
    if not place:
        raise DataNotPrepared(
            f"there is no {dataset} in {data_dir} that TFDS has prepared as array_record: prepare it with "
            f"tfds.builder('{dataset}', file_format='array_record').download_and_prepare() and set TFDS_DATA_DIR, or "
            f"choose another --config.dataset ({', '.join(datasets.NAMES)}) or a --config.data.folder"
        )
    return _find_records(place, test_split, cache_dir)


def _find_small(cifar100: _Origin) -> _Origin:
    def chosen(source: Source, images_per_class: int | None) -> Chosen:
        return Chosen(source, *small.part(cifar100.class_names, source.labels(), images_per_class))

    train, test = chosen(cifar100.train, small.IMAGES_PER_CLASS), chosen(cifar100.test, None)
    return cifar100._replace(train=train, test=test, class_names=small.CLASSES)


def _find_records(folder: Path, test_split: str, cache_dir: Path) -> _Origin:
    sizes, image_shape, class_names = prepared.contents(folder)
    channels = image_shape[-1]
    if channels not in _MEAN:
        raise UserError(f"the images in {folder} have {channels} channels: choose a data set with 1 or 3")
    splits = ("train", _test_split(tuple(sizes), test_split, folder))
    sources = (Records(folder, split, sizes[split], cache_dir) for split in splits)
    return _Origin(str(folder), *sources, class_names, image_shape, _MEAN[channels], _STD[channels])


def _find_files(folder: Path, test_split: str) -> _Origin:
    if not (folder / "train").is_dir():
        raise UserError(
            f"there is no folder {folder / 'train'}: --config.data.folder=DIR wants DIR/train/CLASS/*.jpg, and "
            "DIR/test, DIR/val or DIR/validation beside it"
        )
    test = folder / _test_split(class_folders(folder), test_split, folder)
    class_names, test_names = class_folders(folder / "train"), class_folders(test)
    if class_names != test_names or len(class_names) < 2:
        odd = ", ".join(sorted(set(class_names) ^ set(test_names))[:3]) or "there is but one"
        raise UserError(
            f"{folder / 'train'} and {test} must hold the same folders, one for each class ({odd}): make them "
            "the same, or name another by --config.data.test_split"
        )
    sources = (Files(place, class_names) for place in (folder / "train", test))
    return _Origin(str(folder), *sources, class_names, (None, None, 3), _MEAN[3], _STD[3])


def _test_split(splits: Sequence[str], wanted: str, place: str | Path) -> str:
    if wanted and wanted not in splits:
        raise UserError(unknown("data.test_split", wanted, splits))
    found = [split for split in ((wanted,) if wanted else _TEST_SPLITS) if split in splits]
    if "train" not in splits or not found:
        raise UserError(f"{place} has no split train, or none to test on (it has {', '.join(splits)}): give another")
    return found[0]
