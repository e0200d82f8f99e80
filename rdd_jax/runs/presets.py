"""Presets: data, a pair of networks and the recipe that goes with them.

`digits` (default), `mnist`, `cifar100_small`, `cifar100`, `cifar100_TEACHER_STUDENT` for two pairs of unlike networks,
`folder` for the user's own images, and `imagenet2012`, which is streamed. The recipe of the CIFAR presets is
RepDistiller's: batches of 64, SGD with momentum 0.9, coupled weight decay 5e-4, learning rate 0.05, times 0.1 after
150, 180 and 210 of 240 epochs.
"""

from typing import Any

import ml_collections

from rdd_jax.core.errors import UserError, unknown_name_message
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.naming import teacher_config

_CIFAR100: dict[str, Any] = {
    "dataset": "cifar100",
    "epochs": 240,
    "teacher": {"name": "resnet32x4", "epochs": 240},
    "student": {"name": "resnet8x4"},
    "augment": {"pad": 4, "flip": True},
    "negatives": {"num_negatives": 16384, "pool_size": 1024},
    "methods": {"nkd": {"gamma": 3.5, "temperature": 3.0}},
    "mining": {"epochs": 20},
    "sampler": {"pace_epochs": 100, "scoring_epochs": 20},
}
# The weights of these grow over the first twelfth of the epochs, 20 of 240 in the releases.
_WARMED_UP = ("dkd", "rld")
PRESETS: dict[str, dict[str, Any]] = {
    "digits": {
        "dataset": "digits",
        "epochs": 30,
        "teacher": {"name": "resnet20", "epochs": 30},
        "student": {"name": "resnet8"},
        "augment": {"pad": 1},
        "negatives": {"num_negatives": 1024, "pool_size": 64},
        "mining": {"epochs": 5},
        "sampler": {"pace_epochs": 12, "scoring_epochs": 5},
    },
    "mnist": {
        "dataset": "mnist",
        "epochs": 5,
        "teacher": {"name": "resnet20", "epochs": 5},
        "student": {"name": "resnet8"},
        "augment": {"pad": 2},
        "negatives": {"num_negatives": 4096, "pool_size": 256},
        "mining": {"epochs": 2},
        "sampler": {"pace_epochs": 2, "scoring_epochs": 2},
    },
    "cifar100_small": {
        "dataset": "cifar100_small",
        "epochs": 40,
        "teacher": {"name": "resnet20", "epochs": 40},
        "student": {"name": "resnet8"},
        "augment": {"pad": 4, "flip": True},
        "negatives": {"num_negatives": 4096, "pool_size": 256},
        "methods": _CIFAR100["methods"],
        "mining": {"epochs": 5},
        "sampler": {"pace_epochs": 16, "scoring_epochs": 5},
    },
    "cifar100": _CIFAR100,
    # RepDistiller gives these students a lower learning rate.
    "cifar100_vgg13_mobilenetv2": _CIFAR100
    | {
        "pair": "vgg13_mobilenetv2",
        "methods": _CIFAR100["methods"] | {"dkd": {"beta": 6.0}},
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
        "mining": {"epochs": 10},
        "sampler": {"pace_epochs": 24, "scoring_epochs": 10},
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
        "methods": {"dkd": {"beta": 0.5, "temperature": 1.0, "warmup_epochs": 1}, "dist": {"temperature": 1.0}},
        "mining": {"epochs": 10},
        "sampler": {"pace_epochs": 40, "scoring_epochs": 10},
    },
}


def get_config(preset: str = "digits", **weights: float) -> ml_collections.ConfigDict:
    """Returns the configuration of a preset, whose keys are those of `RunConfig.to_dict`.

    Args:
        preset: a name of PRESETS; "" for the default.
        **weights: of methods, by name. Cross-entropy has weight 1 and all others 0 unless they are given here.

    Raises:
        UserError: for an unknown preset.
    """
    preset = preset or "digits"
    if preset not in PRESETS:
        raise UserError(unknown_name_message("preset", preset, PRESETS))
    chosen = dict(PRESETS[preset])
    negatives, published = chosen.pop("negatives"), chosen.pop("methods", {})
    config = ml_collections.ConfigDict(RunConfig().to_dict())
    config.preset = preset.removesuffix(f"_{chosen.get('pair')}")
    for name, options in config.distill.items():
        # Every method with an option of such a name takes the preset's number.
        options.update({key: value for key, value in negatives.items() if key in options})
        options.warmup_epochs = chosen["epochs"] // 12 if name in _WARMED_UP else 0
        options.update(published.get(name, {}))
        options.weight = weights.get(name, options.weight)
    config.update(chosen)
    return config


def get_teacher_config(preset: str = "digits") -> ml_collections.ConfigDict:
    """Returns the configuration of the run that trains the teacher of a preset."""
    keys = get_config(preset).to_dict()
    return ml_collections.ConfigDict(teacher_config(RunConfig.from_dict(keys)).to_dict())
