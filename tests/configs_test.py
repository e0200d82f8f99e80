"""Every configuration builds, and every method fits every pair of networks: by shapes alone, nothing is computed."""

import functools
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from rdd_jax import methods, models, runs
from rdd_jax.data import datasets
from rdd_jax.types import Batch

# What RepDistiller and the papers of RRD and RDD weigh them with; the triplets have no published weight.
WEIGHTS = {"ce": 1.0, "kd": 0.9, "fitnets": 100.0, "at": 1000.0, "nst": 50.0, "pkt": 30000.0, "sp": 3000.0, "cc": 0.02}
WEIGHTS |= {"vid": 1.0, "rkd": 1.0, "crd": 0.8, "rrd": 1.0, "rdd": 0.8, "rdx_triplet": 0.8}
ROWS = 4
# What TFDS would tell of it where it is prepared.
IMAGENET = datasets.DatasetInfo(1_281_167, 50_000, (224, 224, 3), 1000)


def describe(dataset):
    return IMAGENET if dataset == "imagenet2012" else datasets.describe(dataset)


@functools.cache
def outputs(name, dataset):
    """The shapes of what a network shows for a batch."""
    info = describe(dataset)
    model, images = models.create(name, info.num_classes), jnp.zeros((ROWS, *info.image_shape))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))[0]


def step_shapes(config):
    """(loss, gradients of the heads, new state, initial params and state), as shapes."""
    info = describe(config.dataset)
    distiller = methods.from_options(config.distill.to_dict(), np.arange(info.num_train) % info.num_classes)
    student, teacher = (outputs(network.name, config.dataset) for network in (config.student, config.teacher))

    def step(student, teacher):
        params, state = distiller.init(jax.random.key(0), student, teacher)
        rows = jnp.zeros((ROWS,), jnp.int32)
        batch = Batch(jnp.zeros((ROWS, *info.image_shape)), rows, rows)
        loss = functools.partial(distiller.loss, rng=jax.random.key(1), axis_name=None)
        (value, (after, _)), gradients = jax.value_and_grad(loss, has_aux=True)(params, state, student, teacher, batch)
        return value, (gradients, after), (params, state)

    return jax.eval_shape(step, student, teacher)


def test_every_method_has_a_configuration_and_a_published_weight():
    files = {path.stem for path in (Path(__file__).parent.parent / "configs").glob("*.py")}
    others = {"base", "teacher", "rdd_sampling", "rdd_curriculum", "rdd_kd"}
    assert set(methods.METHODS) == set(WEIGHTS) == files - others


def test_rdd_with_kd_has_the_weights_that_crd_with_kd_is_published_with():
    weights = importlib.import_module("configs.rdd_kd").get_config().distill
    assert {name: options.weight for name, options in weights.items() if options.weight} == {
        "ce": 1.0,
        "kd": 1.0,
        "rdd": 0.8,
    }


@pytest.mark.parametrize(("name", "kind"), [("rdd_sampling", "rdx"), ("rdd_curriculum", "curriculum")])
def test_samplers_come_with_kd(name, kind):
    config = importlib.import_module(f"configs.{name}").get_config("cifar100")
    assert runs.method_name(config) == f"kd-{kind}"
    assert (config.sampler.fraction, config.sampler.start_fraction, config.sampler.pace_epochs) == (0.15, 0.3, 100)


@pytest.mark.parametrize("preset", base.PRESETS)
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_configuration_builds(name, preset):
    config = importlib.import_module(f"configs.{name}").get_config(preset)
    assert methods.label(config.distill) == name
    assert config.distill[name].weight == WEIGHTS[name]
    assert config.distill.ce.weight == (0.1 if name == "kd" else 1.0)
    value, after, before = step_shapes(config)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    assert after == before


@pytest.mark.parametrize("pair", ["resnet50 wrn_16_1", "wrn_40_2 vgg8"])
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_fits_any_pair_of_networks(name, pair):
    config = importlib.import_module(f"configs.{name}").get_config("cifar100")
    config.teacher.name, config.student.name = pair.split()
    _, after, before = step_shapes(config)
    assert after == before


def test_all_methods_combine():
    config = base.get_config("cifar100")
    config.teacher.name, config.student.name = "vgg8", "shufflev1"
    for name, weight in WEIGHTS.items():
        config.distill[name].weight = weight
    value, after, before = step_shapes(config)
    assert value.shape == ()
    assert after == before
