"""Finds data sets on disk that are read image by image, and describes them without decoding an image.

Such are all data sets of TFDS with one image and one label an example, if prepared in the array_record format; and
folders of image files, either DIR/train/CLASS/*.jpg with DIR/validation, DIR/val or DIR/test, or DIR/CLASS/*.jpg, of
which a share is held out. The training images of DIR/train/*.jpg have no labels.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import cifar100_subset, datasets, digits, own_data, splits, tfds
from rdd_jax.data.datasets import DataNotPrepared
from rdd_jax.data.folders import FileSource, class_folders
from rdd_jax.data.sources import ArraySource, RecordSource, Source, Subset

# Evaluation splits in order of preference. The labels of `test` are often withheld where there is a `validation`.
_TEST_SPLITS = ("validation", "val", "test")
# Mean and deviation of ImageNet by the number of channels, for data sets without their own.
_MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
_STD = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
LAYOUT = (
    "--config.data.folder=DIR needs DIR/train/CLASS/*.jpg, and DIR/test, DIR/val or DIR/validation beside it; or "
    "DIR/CLASS/*.jpg alone, with --config.data.validation=0.2; or unlabelled DIR/train/*.jpg and DIR/test/CLASS/*.jpg"
)


class DatasetOrigin(NamedTuple):
    """A data set that is read image by image.

    path: its folder; "" for a data set that is part of a library.
    train, test: the images and labels of the splits.
    class_names: the names of the classes.
    image_shape: height, width and channels; height and width are None where images differ.
    mean, std: per channel, of pixels scaled to [0, 1].
    files: all image files of a folder of such; () for other data sets.
    validation: images held out of `train` in addition to `test`, or None.
    checksum: of the arrays of the user's own data; "" for other data sets.
    is_labelled: False where the training images have no labels, which are -1 then.
    """

    path: str
    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    files: tuple[str, ...] = ()
    validation: Source | None = None
    checksum: str = ""
    is_labelled: bool = True


@functools.lru_cache(maxsize=8)  # Listing a million files takes a while.
def find(dataset: str, folder: str, test_split: str, share: float, data_dir: Path, cache_dir: Path) -> DatasetOrigin:
    """Finds a data set.

    Args:
        dataset: a name of `datasets.NAMES` or of TFDS, an .npz file, or FILE.py:FUNCTION.
        folder: of image files, instead of `dataset`; "" for none.
        test_split: the split to test on; "" for the first of _TEST_SPLITS.
        share: the share of the training images, in [0, 1), that is held out: as `validation`, or as `test` where there
            is no other test split.
        data_dir: the folder of TFDS's data sets.
        cache_dir: the folder in which labels are cached.

    Raises:
        UserError: if the data set is missing or damaged, or has another layout.
    """
    if folder:
        return _find_files(Path(folder), test_split, share)
    if own_data.is_own(dataset):
        return _with_validation(_find_own(dataset, test_split), share)
    return _with_validation(_find_named(dataset, test_split, data_dir, cache_dir), share)


def _with_validation(origin: DatasetOrigin, share: float) -> DatasetOrigin:
    if not share:
        return origin
    if not origin.is_labelled:
        raise UserError(
            f"data.validation divides the images class by class, and those of {origin.path} have no labels: set "
            "--config.data.validation=0"
        )
    train, validation = _hold_out(origin.train, share)
    return origin._replace(train=train, validation=validation)


def _hold_out(source: Source, share: float) -> tuple[Subset, Subset]:
    """Divides a source into (the images to train on, the images held out)."""
    labels = source.labels()
    train, held_out = (Subset(source, part, labels[part]) for part in splits.hold_out(labels, share))
    return train, held_out


def _find_named(dataset: str, test_split: str, data_dir: Path, cache_dir: Path) -> DatasetOrigin:
    if dataset == "digits":
        _test_split(("train", "test"), test_split, dataset)
        arrays = digits.load_arrays()
        train = ArraySource("digits train", arrays["train_images"], arrays["train_labels"])
        test = ArraySource("digits test", arrays["test_images"], arrays["test_labels"])
        image_shape = datasets.describe(dataset).image_shape
        return DatasetOrigin("", train, test, arrays["class_names"], image_shape, *datasets.normalization(dataset))
    if dataset == "cifar100_small":
        return cut_cifar100_small(_find_named("cifar100", test_split, data_dir, cache_dir))
    if dataset in datasets.NAMES:
        path = datasets.prepared_folder(dataset)
        if not tfds.holds_array_records(path):
            raise DataNotPrepared(
                f"{dataset} is streamed from what TFDS has prepared as array_record, and there is nothing at {path}: "
                "set TFDS_DATA_DIR, or --config.data.loading=memory"
            )
        origin = find_records(path, test_split, cache_dir)
        mean, std = datasets.normalization(dataset)
        return origin._replace(mean=mean, std=std)
    path = tfds.latest_version(data_dir / dataset)
    if not path:
        raise DataNotPrepared(
            f"there is no {dataset} in {data_dir} that TFDS has prepared as array_record: prepare it with "
            f"tfds.builder('{dataset}', file_format='array_record').download_and_prepare() and set TFDS_DATA_DIR, or "
            f"choose another --config.dataset ({', '.join(datasets.NAMES)}) or a --config.data.folder"
        )
    return find_records(path, test_split, cache_dir)


def _find_own(dataset: str, test_split: str) -> DatasetOrigin:
    _test_split(("train", "test"), test_split, dataset)
    arrays = own_data.read(dataset)
    return DatasetOrigin(
        path=dataset,
        train=ArraySource(f"{dataset} train", arrays.train_images, arrays.train_labels),
        test=ArraySource(f"{dataset} test", arrays.test_images, arrays.test_labels),
        class_names=arrays.class_names,
        image_shape=arrays.train_images.shape[1:],
        mean=arrays.mean,
        std=arrays.std,
        checksum=arrays.checksum,
    )


def cut_cifar100_small(cifar100: DatasetOrigin) -> DatasetOrigin:
    """Returns the part of `cifar100` that `cifar100_subset` describes."""

    def chosen(source: Source, images_per_class: int | None) -> Subset:
        return Subset(source, *cifar100_subset.subset_indices(cifar100.class_names, source.labels(), images_per_class))

    train, test = chosen(cifar100.train, cifar100_subset.IMAGES_PER_CLASS), chosen(cifar100.test, None)
    return cifar100._replace(train=train, test=test, class_names=cifar100_subset.CLASSES)


def find_records(folder: Path, test_split: str, cache_dir: Path) -> DatasetOrigin:
    """Finds the data set that TFDS has prepared in a folder. Errors are those of `find`."""
    sizes, image_shape, class_names = tfds.read_metadata(folder)
    height, width, channels = image_shape
    if channels not in _MEAN:
        raise UserError(f"the images in {folder} have {channels} channels: choose a data set with 1 or 3")
    name = _test_split(tuple(sizes), test_split, folder)
    train, test = (RecordSource(folder, split, sizes[split], cache_dir) for split in ("train", name))
    return DatasetOrigin(
        str(folder), train, test, class_names, (height, width, channels), _MEAN[channels], _STD[channels]
    )


def _find_files(folder: Path, test_split: str, share: float) -> DatasetOrigin:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give another --config.data.folder")
    found = class_folders(folder)
    has_test = bool(test_split or set(found) & set(_TEST_SPLITS))
    if has_test and "train" not in found:
        raise UserError(f"there is no folder {folder / 'train'}: {LAYOUT}")
    train = folder / "train" if "train" in found else folder
    class_names = class_folders(train)
    if has_test:
        return _with_validation(_with_test(folder, train, class_names, test_split), share)
    files = _files(train, class_names)
    if not share:
        raise UserError(
            f"{folder} has no folder test, val or validation: set --config.data.validation=0.2 to hold a fifth of "
            "each class's images out of training and test on those"
        )
    return _of_files(folder, *_hold_out(files, share), class_names, files.paths)


def _with_test(folder: Path, train: Path, class_names: tuple[str, ...], test_split: str) -> DatasetOrigin:
    """Finds the images of the folder `train`, with these classes or none, and the test images in a folder beside it."""
    test = folder / _test_split(class_folders(folder), test_split, folder)
    test_names = class_folders(test)
    if not class_names:
        test_files, files = _files(test, test_names), FileSource(train, ())
        origin = _of_files(folder, files, test_files, test_names, files.paths + test_files.paths)
        return origin._replace(is_labelled=False)
    if class_names != test_names:
        odd = ", ".join(sorted(set(class_names) ^ set(test_names))[:3])
        raise UserError(
            f"{train} and {test} must hold the same folders, one for each class ({odd}): make them the "
            "same, or name another by --config.data.test_split"
        )
    files, test_files = _files(train, class_names), _files(test, class_names)
    return _of_files(folder, files, test_files, class_names, files.paths + test_files.paths)


def _of_files(
    folder: Path, train: Source, test: Source, class_names: tuple[str, ...], paths: Sequence[str]
) -> DatasetOrigin:
    return DatasetOrigin(str(folder), train, test, class_names, (None, None, 3), _MEAN[3], _STD[3], tuple(paths))


def _files(folder: Path, class_names: tuple[str, ...]) -> FileSource:
    if len(class_names) < 2:
        found = f"there is but one, {class_names[0]}" if class_names else "there is none"
        raise UserError(f"{folder} must hold a folder of images for each class, and {found}; {LAYOUT}")
    # A link may put the folder of one class into that of another.
    resolved = {os.path.join(os.path.realpath(folder / name), ""): name for name in class_names}
    for outer in sorted(resolved):
        for inner in resolved:
            if outer != inner and inner.startswith(outer):
                raise UserError(
                    f"{folder}: the folder {resolved[inner]} is in {resolved[outer]}: each class needs its own"
                )
    if len(resolved) < len(class_names):
        repeated = sorted(set(class_names) - set(resolved.values()))[0]
        raise UserError(f"{folder}: the folder {repeated} is a link to another class's: remove it")
    return FileSource(folder, class_names)


def _test_split(names: Sequence[str], wanted: str, path: str | Path) -> str:
    """Returns the split to test on: `wanted`, or the first of _TEST_SPLITS where that is ""."""
    if wanted and wanted not in names:
        raise UserError(unknown_name_message("data.test_split", wanted, names))
    found = [split for split in ((wanted,) if wanted else _TEST_SPLITS) if split in names]
    if "train" not in names or not found:
        raise UserError(f"{path} has no split train, or none to test on (it has {', '.join(names)}): give another")
    return found[0]
