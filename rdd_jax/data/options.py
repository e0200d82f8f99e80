"""The options of data sets and of augmentation."""

from dataclasses import dataclass

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers
from rdd_jax.data.rand_augment import MAX_MAGNITUDE

LOADINGS = ("memory", "stream")
_MOST_WORKERS = 256


@dataclass(frozen=True)
class DataOptions:
    """The data set and how its images are read: the key `dataset` and the section `data` of a configuration.

    dataset: a name of `datasets.NAMES` or of a data set that TFDS has prepared, an .npz file, or FILE.py:FUNCTION
        (see `own_data`). Ignored where `folder` is given.
    loading: "memory" decodes all images once; "stream" reads them in every epoch, ahead of the devices.
    folder: a folder DIR of image files with DIR/train/CLASS/*.jpg and DIR/test, DIR/val or DIR/validation, or with
        DIR/CLASS/*.jpg alone, or with DIR/train/*.jpg, which have no labels, and DIR/test/CLASS/*.jpg; "" for none.
    image_size: height and width in pixels to which all images are scaled; 0 where they have one size already.
    crop_share: the share of the shorter side that the centre crop keeps, in (0, 1]; 0 for the usual one, which is 0.875
        for images of at least 128 pixels and 1 for smaller ones.
    test_split: the name of the split to test on; "" for the first of validation, val and test.
    validation: the share of the training images, in [0, 1), that is held out to choose the best epoch by, or to test on
        where there is no other split for that.
    workers: processes that read streamed images; 0 for threads of the main process.

    Raises:
        ValueError: for a value out of its range.
    """

    dataset: str = "digits"
    loading: str = "memory"
    folder: str = ""
    image_size: int = 0
    crop_share: float = 0.0
    test_split: str = ""
    validation: float = 0.0
    workers: int = 0

    def __post_init__(self) -> None:
        check_numbers(self, "data", {"image_size": 10**4})
        if self.loading not in LOADINGS:
            raise ValueError(unknown_name_message("data.loading", self.loading, LOADINGS))
        if not (0 <= self.workers <= _MOST_WORKERS and self.image_size >= 0):
            raise ValueError(
                f"data.workers must be in [0, {_MOST_WORKERS}] and data.image_size not negative; got {self.workers} "
                f"and {self.image_size}"
            )
        if not 0 <= self.crop_share <= 1:
            raise ValueError(f"data.crop_share is a share in (0, 1], or 0 for the usual one; got {self.crop_share}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"data.validation is a share in [0, 1); got {self.validation}")


@dataclass(frozen=True)
class AugmentOptions:
    """The random changes to training images: the section `augment` of a configuration.

    pad: zeros added on each side, in pixels, before a random crop to the image's own size.
    flip: mirrors half of the images left to right.
    resized_crop: crops a random part of each image and scales it to the image size; for streamed images.
    rand_ops: the number of operations of RandAugment on each image (Cubuk et al. 2020); 0 for none.
    rand_magnitude: the magnitude of these operations in [0, 30], as torchvision has it.
    erase: the probability that a random rectangle of an image is erased (Zhong et al. 2020).
    mixup: alpha of the Beta distribution by which pairs of images are averaged (Zhang et al. 2018); 0 for no mixup.
    cutmix: alpha of the Beta distribution by which rectangles are exchanged between images (Yun et al. 2019); 0 for no
        CutMix. With both, each image is mixed by one or the other, with probability 1/2.

    Raises:
        ValueError: for a value out of its range.
    """

    pad: int = 0
    flip: bool = False
    resized_crop: bool = False
    rand_ops: int = 0
    rand_magnitude: int = 9
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "augment", {"pad": 1000, "rand_ops": 100, "rand_magnitude": MAX_MAGNITUDE})
        for name in ("pad", "rand_ops", "rand_magnitude", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"augment.{name} must not be negative; got {getattr(self, name)}")
        if not 0 <= self.erase <= 1:
            raise ValueError(f"augment.erase is a probability in [0, 1]; got {self.erase}")

    @property
    def mixes(self) -> bool:
        """True where images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0
