"""What all runs share: every key with its default, and the presets.

Presets: `digits` (default), `mnist`, `cifar100_small`, `cifar100`, `cifar100_TEACHER_STUDENT` for two pairs of unlike
networks, `folder` for one's own images, and `imagenet2012`, which is streamed. The recipe is RepDistiller's: batches of
64, SGD with momentum 0.9, coupled weight decay 5e-4, learning rate 0.05, times 0.1 after 150, 180, 210 of 240 epochs.
"""

import ml_collections

from rdd_jax import methods
from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.data import loading, samplers

_CIFAR100 = {
    "dataset": "cifar100",
    "epochs": 240,
    "teacher": {"name": "resnet32x4", "epochs": 240},
    "student": {"name": "resnet8x4"},
    "augment": {"pad": 4, "flip": True},
    "negatives": {"num_negatives": 16384, "pool_size": 1024},
    "refresh": {"epochs": 20},
    "sampler": {"pace_epochs": 100, "refresh_epochs": 20},
}
PRESETS = {
    "digits": {
        "dataset": "digits",
        "epochs": 30,
        "teacher": {"name": "resnet20", "epochs": 30},
        "student": {"name": "resnet8"},
        "augment": {"pad": 1},
        "negatives": {"num_negatives": 1024, "pool_size": 64},
        "refresh": {"epochs": 5},
        "sampler": {"pace_epochs": 12, "refresh_epochs": 5},
    },
    "mnist": {
        "dataset": "mnist",
        "epochs": 5,
        "teacher": {"name": "resnet20", "epochs": 5},
        "student": {"name": "resnet8"},
        "augment": {"pad": 2},
        "negatives": {"num_negatives": 4096, "pool_size": 256},
        "refresh": {"epochs": 2},
        "sampler": {"pace_epochs": 2, "refresh_epochs": 2},
    },
    "cifar100_small": {
        "dataset": "cifar100_small",
        "epochs": 40,
        "teacher": {"name": "resnet20", "epochs": 40},
        "student": {"name": "resnet8"},
        "augment": {"pad": 4, "flip": True},
        "negatives": {"num_negatives": 4096, "pool_size": 256},
        "refresh": {"epochs": 5},
        "sampler": {"pace_epochs": 16, "refresh_epochs": 5},
    },
    "cifar100": _CIFAR100,
    # RepDistiller gives these students a lower learning rate.
    "cifar100_vgg13_mobilenetv2": _CIFAR100
    | {
        "pair": "vgg13_mobilenetv2",
        "teacher": {"name": "vgg13", "epochs": 240},
        "student": {"name": "mobilenetv2"},
        "learning_rate": 0.01,
    },
    "cifar100_resnet32x4_shufflev2": _CIFAR100
    | {"pair": "resnet32x4_shufflev2", "student": {"name": "shufflev2"}, "learning_rate": 0.01},
    # One's own folder of images: some hundred of them take minutes on a CPU. Negatives are at most all other images.
    "folder": {
        "dataset": "",
        "data": {"image_size": 32, "validation": 0.2},
        "augment": {"pad": 4, "flip": True},
        "epochs": 60,
        "batch_size": 32,
        "teacher": {"name": "resnet20", "epochs": 60},
        "student": {"name": "resnet8"},
        "negatives": {"num_negatives": 256, "pool_size": 32},
        "refresh": {"epochs": 10},
        "sampler": {"pace_epochs": 24, "refresh_epochs": 10},
    },
    # PyTorch's recipe, which CRD's table of ImageNet follows.
    "imagenet2012": {
        "dataset": "imagenet2012",
        "data": {"loading": "stream", "image_size": 224},
        "augment": {"flip": True, "resized_crop": True},
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.1,
        "milestones": (0.3, 0.6, 0.9),
        "weight_decay": 1e-4,
        "teacher": {"name": "resnet34", "epochs": 100, "learning_rate": 0.1},
        "student": {"name": "resnet18"},
        # A table of 1.3 million rows has 1.3 GB at this size of the pool, and is ranked against this many images.
        "negatives": {"num_negatives": 16384, "pool_size": 256, "candidates": 20000},
        "refresh": {"epochs": 10},
        "sampler": {"pace_epochs": 40, "refresh_epochs": 10},
    },
}


def get_config(preset: str = "digits") -> ml_collections.ConfigDict:
    """The configuration of a preset, with cross-entropy alone: what each method's file starts from."""
    preset = preset or "digits"
    if preset not in PRESETS:
        raise UserError(unknown_name_message("preset", preset, PRESETS))
    chosen = dict(PRESETS[preset])
    negatives = chosen.pop("negatives")

    config = ml_collections.ConfigDict()
    config.preset = preset.removesuffix(f"_{chosen.get('pair')}")
    config.pair = ""  # of networks, where a preset has several
    config.trains_teacher = False
    config.seed = 0
    config.dtype = "float32"  # of the networks' computation; or "bfloat16"

    config.dataset = "digits"
    # Where images are: in "memory", or read as they are needed ("stream"). They are of a `dataset` here or of TFDS, or
    # of a `folder` DIR with DIR/train/CLASS/*.jpg and DIR/test (or val, validation: `test_split`), or with
    # DIR/CLASS/*.jpg. They are scaled so that their centre crop of `image_size` pixels (0: all have one size) keeps
    # `crop_share` of the shorter side (0: 0.875 from 128 pixels on, else 1). The share `validation` of the training
    # images is held out to choose the best epoch by, or to test on where there is no split for that. `workers` are
    # processes that read what is streamed; 0: threads of this one.
    config.data = ml_collections.ConfigDict(loading.options())
    # Zero-padding on each side before the crop; mirror images or not; random parts, scaled, of streamed images.
    config.augment = ml_collections.ConfigDict({"pad": 0, "flip": False, "resized_crop": False})

    config.epochs = 1
    config.batch_size = 64  # over all devices
    config.learning_rate = 0.05
    config.milestones = (0.625, 0.75, 0.875)  # shares of the epochs after which the learning rate falls
    config.learning_rate_factor = 0.1  # by which it is multiplied there
    config.warmup_epochs = 0.0  # over which it rises from 0
    config.momentum = 0.9
    config.weight_decay = 5e-4

    # The frozen teacher. `checkpoint` is the workdir of a run or a file of weights (.pth, .safetensors); without one a
    # teacher is trained first, by its own seed, epochs and learning rate and else by the run's recipe, and kept.
    # Without a name there is no teacher.
    config.teacher = ml_collections.ConfigDict(
        {"name": "", "checkpoint": "", "seed": 0, "epochs": 1, "learning_rate": 0.05}
    )
    # With "views" the teacher's logits and embedding of every view are computed once and kept beside the workdir, for
    # all runs with that teacher, in "float32" or "float16" and so many gigabytes (10**9 bytes) at most.
    config.teacher.update({"cache": "none", "cache_dtype": "float32", "cache_gigabytes": 4.0})
    config.student = ml_collections.ConfigDict({"name": ""})

    # Every method with its options; those whose weight is not 0 are summed.
    config.distill = ml_collections.ConfigDict(
        {name: {"weight": 0.0, **methods.options(name)} for name in methods.METHODS}
    )
    config.distill.ce.weight = 1.0
    for options in config.distill.values():
        options.update({key: value for key, value in negatives.items() if key in options})

    # When methods that mine do so: before epoch `start_epoch` (from 0), and then "once", "every" so many `epochs`, or
    # "adaptive": whenever what the student groups has drifted by `threshold` since, as `probe` images tell (drift.py).
    # The teacher's ranks, for minings and for samplers that rank, are kept on every device if they fit: 2 bytes a pair,
    # 0.05 GB for 5,000 images, 5 for 50,000.
    config.refresh = ml_collections.ConfigDict(
        {"kind": "every", "start_epoch": 1, "epochs": 5, "threshold": 0.5, "probe": 1024, "ranks_gigabytes": 1.0}
    )

    # Which images an epoch visits: data/sampling.py says what the kinds are, and what each option is for.
    config.sampler = ml_collections.ConfigDict(samplers.options())

    # When loss or weights are not finite: "stop"; "skip" that update; or "rollback" to the last good weights, and go on
    # behind the batches that spoiled them. What is not finite is never saved.
    config.on_nan = "stop"
    config.eval_every_epochs = 1
    config.checkpoint_every_epochs = 1.0  # shares of an epoch are fine
    config.keep_all_checkpoints = False  # not only the two latest and the most accurate
    config.steps_per_call = 0  # updates sent to the devices at once; 0: one on CPU, up to 100 elsewhere

    config.update(chosen)
    return config
