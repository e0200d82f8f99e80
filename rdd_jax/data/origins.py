"""Data sets that are read image by image: found on disk, and described without decoding an image.

Any data set of TFDS whose examples are an image and a label, as prepared in the array_record format; and any folder of
image files, DIR/train/CLASS/*.jpg with DIR/validation, DIR/val or DIR/test, or DIR/CLASS/*.jpg, of which a share is
held out.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import cifar100_subset, datasets, splits, tfds
from rdd_jax.data.datasets import DataNotPrepared
from rdd_jax.data.folders import Files, class_folders
from rdd_jax.data.sources import Arrays, Chosen, Records, Source

# Of several the first is taken: where there is a split to choose by, the answers of the other may be kept back.
_TEST_SPLITS = ("validation", "val", "test")
# Of ImageNet, by channels: for whatever has no own.
_MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
_STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
LAYOUT = (
    "--config.data.folder=DIR wants DIR/train/CLASS/*.jpg, and DIR/test, DIR/val or DIR/validation beside it; or "
    "DIR/CLASS/*.jpg alone, with --config.data.validation=0.2"
)


class Origin(NamedTuple):
    """A data set that is read image by image.

    place: its folder; "" where it is embedded.
    train, test: images and labels.
    image_shape: height, width and channels; None where images differ.
    mean, std: per channel, of pixels scaled to [0, 1].
    files: all image files, where it is a folder of such.
    validation: images held out of `train`, where that was asked for besides those to test on.
    """

    place: str
    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    files: tuple[str, ...] = ()
    validation: Source | None = None


@functools.lru_cache(maxsize=8)  # Listing a million files takes a while.
def find(dataset: str, folder: str, test_split: str, share: float, data_dir: Path, cache_dir: Path) -> Origin:
    """Finds a data set.

    Args:
        dataset: a name of `datasets.NAMES` or of TFDS.
        folder: of image files, instead of `dataset`; "" for none.
        test_split: the split to test on; "" for the usual one.
        share: of the training images, in [0, 1), held out: as `validation`, or as `test` where there is no other.
        data_dir: where TFDS keeps its data sets.
        cache_dir: where the labels of records are kept.

    Raises:
        UserError: where it is missing, damaged or of another layout.
    """
    if folder:
        return _find_files(Path(folder), test_split, share)
    return _with_validation(_find_named(dataset, test_split, data_dir, cache_dir), share)


def _with_validation(origin: Origin, share: float) -> Origin:
    if not share:
        return origin
    train, validation = _divided(origin.train, share)
    return origin._replace(train=train, validation=validation)


def _divided(source: Source, share: float) -> tuple[Chosen, Chosen]:
    """-> (those that are trained on, those that are held out)."""
    labels = source.labels()
    train, held_out = (Chosen(source, part, labels[part]) for part in splits.hold_out(labels, share))
    return train, held_out


def _find_named(dataset: str, test_split: str, data_dir: Path, cache_dir: Path) -> Origin:
    if dataset == "digits":
        _test_split(("train", "test"), test_split, dataset)
        digits = datasets.load(dataset)
        train = Arrays("digits train", digits.train_images, digits.train_labels)
        test = Arrays("digits test", digits.test_images, digits.test_labels)
        return Origin("", train, test, digits.class_names, digits.train_images.shape[1:], digits.mean, digits.std)
    if dataset == "cifar100_small":
        return cut_small(_find_named("cifar100", test_split, data_dir, cache_dir))
    if dataset in datasets.NAMES:
        place = datasets.prepared_folder(dataset)
        if not tfds.holds_array_records(place):
            raise DataNotPrepared(
                f"{dataset} is streamed from what TFDS has prepared as array_record, and there is nothing at {place}: "
                "set TFDS_DATA_DIR, or --config.data.loading=memory"
            )
        origin = find_records(place, test_split, cache_dir)
        mean, std = datasets.normalization(dataset)
        return origin._replace(mean=mean, std=std)
    place = tfds.newest(data_dir / dataset)
    if not place:
        raise DataNotPrepared(
            f"there is no {dataset} in {data_dir} that TFDS has prepared as array_record: prepare it with "
            f"tfds.builder('{dataset}', file_format='array_record').download_and_prepare() and set TFDS_DATA_DIR, or "
            f"choose another --config.dataset ({', '.join(datasets.NAMES)}) or a --config.data.folder"
        )
    return find_records(place, test_split, cache_dir)


def cut_small(cifar100: Origin) -> Origin:
    """Returns the part of `cifar100` that `small` describes."""

    def chosen(source: Source, images_per_class: int | None) -> Chosen:
        return Chosen(source, *cifar100_subset.part(cifar100.class_names, source.labels(), images_per_class))

    train, test = chosen(cifar100.train, cifar100_subset.IMAGES_PER_CLASS), chosen(cifar100.test, None)
    return cifar100._replace(train=train, test=test, class_names=cifar100_subset.CLASSES)


def find_records(folder: Path, test_split: str, cache_dir: Path) -> Origin:
    """Returns the data set that TFDS has prepared in a folder. Errors are those of `find`."""
    sizes, image_shape, class_names = tfds.contents(folder)
    channels = image_shape[-1]
    if channels not in _MEAN:
        raise UserError(f"the images in {folder} have {channels} channels: choose a data set with 1 or 3")
    names = ("train", _test_split(tuple(sizes), test_split, folder))
    sources = (Records(folder, split, sizes[split], cache_dir) for split in names)
    return Origin(str(folder), *sources, class_names, image_shape, _MEAN[channels], _STD[channels])


def _find_files(folder: Path, test_split: str, share: float) -> Origin:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give another --config.data.folder")
    found = class_folders(folder)
    has_test = bool(test_split or set(found) & set(_TEST_SPLITS))
    if has_test and "train" not in found:
        raise UserError(f"there is no folder {folder / 'train'}: {LAYOUT}")
    train = folder / "train" if "train" in found else folder
    class_names = class_folders(train)
    files = _files(train, class_names)
    if has_test:
        return _with_validation(_with_test(folder, files, class_names, test_split), share)
    if not share:
        raise UserError(
            f"{folder} has no folder test, val or validation: set --config.data.validation=0.2 to hold a fifth of "
            "each class's images out of training and test on those"
        )
    return _of_files(folder, *_divided(files, share), class_names, files.paths)


def _with_test(folder: Path, files: Files, class_names: tuple[str, ...], test_split: str) -> Origin:
    """The folder of the training images `files`, with the one beside it that is tested on."""
    test = folder / _test_split(class_folders(folder), test_split, folder)
    test_names = class_folders(test)
    if class_names != test_names:
        odd = ", ".join(sorted(set(class_names) ^ set(test_names))[:3])
        raise UserError(
            f"{folder / 'train'} and {test} must hold the same folders, one for each class ({odd}): make them the "
            "same, or name another by --config.data.test_split"
        )
    test_files = _files(test, class_names)
    return _of_files(folder, files, test_files, class_names, files.paths + test_files.paths)


def _of_files(folder: Path, train: Source, test: Source, class_names: tuple[str, ...], paths: Sequence[str]) -> Origin:
    return Origin(str(folder), train, test, class_names, (None, None, 3), _MEAN[3], _STD[3], tuple(paths))


def _files(folder: Path, class_names: tuple[str, ...]) -> Files:
    if len(class_names) < 2:
        held = f"there is but one, {class_names[0]}" if class_names else "there is none"
        raise UserError(f"{folder} must hold a folder of images for each class, and {held}; {LAYOUT}")
    # By links, one class may stand in another.
    places = {os.path.join(os.path.realpath(folder / name), ""): name for name in class_names}
    for one in sorted(places):
        for other in places:
            if one != other and other.startswith(one):
                raise UserError(f"{folder}: the folder {places[other]} is in {places[one]}: each class wants its own")
    if len(places) < len(class_names):
        again = sorted(set(class_names) - set(places.values()))[0]
        raise UserError(f"{folder}: the folder {again} is a link to another class's: take it away")
    return Files(folder, class_names)


def _test_split(names: Sequence[str], wanted: str, place: str | Path) -> str:
    if wanted and wanted not in names:
        raise UserError(unknown_name_message("data.test_split", wanted, names))
    found = [split for split in ((wanted,) if wanted else _TEST_SPLITS) if split in names]
    if "train" not in names or not found:
        raise UserError(f"{place} has no split train, or none to test on (it has {', '.join(names)}): give another")
    return found[0]
