"""The sizes of the networks in the papers, and variables of theirs without training."""

import functools

import jax
import numpy as np

from rdd_jax import models

CIFAR = (32, 32, 3)
# As RepDistiller's code has them, resnet18 and resnet34 as kuangliu's, at 100 classes.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "resnet18": 11_220_132,
    "resnet34": 21_328_292,
    "resnet50": 23_705_252,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenetv2": 812_836,
    "shufflev1": 949_258,
    "shufflev2": 1_355_528,
}
ONE_OF_EACH = ("resnet8", "resnet18", "resnet50", "wrn_16_1", "vgg8", "mobilenetv2", "shufflev1", "shufflev2")


@functools.cache
def variables_of(name):
    return models.variable_shapes(models.create(name, 100), CIFAR)


def initial_variables(name, num_classes, image_shape, seed=0):
    """Variables of that network as its initialisation makes them, without compiling it."""
    shapes = models.variable_shapes(models.create(name, num_classes), image_shape)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if leaf.ndim > 1:
            return rng.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, path[-1].key in ("scale", "var"), np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_variables(name, num_classes=5, channels=3):
    """Variables of that network, without compiling its initialisation."""
    shapes = models.variable_shapes(models.create(name, num_classes), (32, 32, channels))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
    return variables | {"batch_stats": jax.tree.map(np.abs, variables["batch_stats"])}  # Variances are not negative.
