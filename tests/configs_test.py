"""Every configuration builds, and every method fits every pair of networks: by shapes alone, nothing is computed."""

import functools
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settings import run_config

from rdd_jax import methods, models
from rdd_jax.core.types import Batch
from rdd_jax.data import datasets
from rdd_jax.runs import naming, presets

# The weights of each configuration: RepDistiller's (README and scripts at b84f547), of rrd and rdd those of their
# papers, of those since 2022 their releases'. The triplets have no published weight.
CE = {"ce": 1.0}
WEIGHTS = {
    "ce": CE,
    "kd": {"ce": 0.1, "kd": 0.9},
    "ce_smoothed": CE,
    "kd_standardized": {"ce": 0.1, "kd": 9.0},
    "dkd": CE | {"dkd": 1.0},
    "dist": CE | {"dist": 2.0},
    "ttm": CE | {"ttm": 45.0},
    "nkd": CE | {"nkd": 1.0},
    "rld": CE | {"rld": 1.0},
    "ps_kd": {"ps_kd": 1.0},
    "fitnets": CE | {"fitnets": 100.0},
    "at": CE | {"at": 1000.0},
    "nst": CE | {"nst": 50.0},
    "pkt": CE | {"pkt": 30000.0},
    "sp": CE | {"sp": 3000.0},
    "cc": CE | {"cc": 0.02},
    "vid": CE | {"vid": 1.0},
    "rkd": CE | {"rkd": 1.0},
    "srd": CE | {"srd": 1.0},
    "itrd": CE | {"itrd": 1.0},
    "crd": CE | {"crd": 0.8},
    "rrd": CE | {"rrd": 1.0},
    # "the combined loss weights are gamma = 1.0, alpha = 0.9, beta = 0.8" (Irakiza & Mugisha 2026, section 3), of
    # "L = gamma L_CE + alpha L_KD + beta L_RDD" (section 2.3).
    "rdd": CE | {"kd": 0.9, "rdd": 0.8},
    "rdd_alone": CE | {"rdd": 0.8},
    "rdx_triplet": CE | {"rdx_triplet": 0.8},
}
ROWS = 4
# What TFDS would tell of it where it is prepared.
IMAGENET = datasets.DatasetInfo(1_281_167, 50_000, (224, 224, 3), 1000)


# The preset `folder` names no data set; some hundred images of one's own may be these.
INFOS = {"imagenet2012": IMAGENET, "": datasets.DatasetInfo(384, 96, (32, 32, 3), 4)}


def describe(dataset):
    return INFOS.get(dataset) or datasets.describe(dataset)


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


def test_every_method_has_a_configuration():
    files = {path.stem for path in (Path(__file__).parent.parent / "configs").glob("*.py")}
    assert files == set(WEIGHTS) | {"teacher", "rdd_sampling", "rdd_curriculum"}
    assert set(methods.METHODS) == set(WEIGHTS) - {"rdd_alone", "ce_smoothed", "kd_standardized"}


@pytest.mark.parametrize(("name", "kind"), [("rdd_sampling", "rdx"), ("rdd_curriculum", "curriculum")])
def test_samplers_come_with_kd(name, kind):
    config = run_config(importlib.import_module(f"configs.{name}").get_config("cifar100"))
    assert naming.method_name(config) == f"kd-{kind}"
    assert (config.sampler.fraction, config.sampler.start_fraction, config.sampler.pace_epochs) == (0.15, 0.3, 100)


def test_runs_of_the_preset_folder_are_called_by_the_folder():
    kd = importlib.import_module("configs.kd").get_config("folder")
    config = run_config(kd, **{"data.folder": "/some/where/My pictures"})
    assert naming.run_name(config) == "kd-My_pictures-seed0"
    assert naming.run_name(naming.teacher_config(config)) == "teacher-My_pictures-resnet20-seed0"


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_every_configuration_builds(name, preset):
    config = importlib.import_module(f"configs.{name}").get_config(preset)
    assert methods.label(config.distill) == name
    assert {term: options.weight for term, options in config.distill.items() if options.weight} == WEIGHTS[name]
    value, after, before = step_shapes(config)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    assert after == before


@pytest.mark.parametrize("pair", ["resnet50 wrn_16_1", "wrn_40_2 vgg8"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_every_method_accepts_any_pair_of_networks(name, pair):
    config = importlib.import_module(f"configs.{name}").get_config("cifar100")
    config.teacher.name, config.student.name = pair.split()
    _, after, before = step_shapes(config)
    assert after == before


def test_all_methods_combine():
    config = presets.get_config("cifar100")
    config.teacher.name, config.student.name = "vgg8", "shufflev1"
    for name in methods.METHODS:
        config.distill[name].weight = WEIGHTS[name][name]
    value, after, before = step_shapes(config)
    assert value.shape == ()
    assert after == before
