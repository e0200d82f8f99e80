"""Follows the guides of CONTRIBUTING.md: runs their code, registers what they make, and uses it once."""

import importlib.util
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
from pages import CONTRIBUTING, section
from program import ROOT
from tiny import LABELS, compiled, start

from rdd_jax import methods, models
from rdd_jax.core.types import ModelOutput
from rdd_jax.data import datasets
from rdd_jax.models import torch_state_dict
from rdd_jax.runs import presets

BLOCK = re.compile(r"(?:^ *`([\w/]+\.py)`:\n\n)?^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def follow(heading, folder):
    """Writes the files of a guide into a folder and imports them; returns the modules by path, and the other code."""
    modules, others = {}, []
    for path, code in BLOCK.findall(section(CONTRIBUTING, heading)):
        if not path:
            others.append(textwrap.dedent(code))
            continue
        file = folder / path.replace("/", "_")
        file.write_text(textwrap.dedent(code))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        modules[path] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[path])
    return modules, others


def test_a_method_is_added_by_the_steps(tmp_path, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "logit_regression", None)  # Removed at the end of the test.
    modules, (imported,) = follow("Add a method", tmp_path)
    lines = (ROOT / "rdd_jax" / "methods" / "__init__.py").read_text()
    assert imported.replace("logit_regression", "kd") in lines
    assert methods.METHODS["logit_regression"] is modules["rdd_jax/methods/logit_regression.py"].logit_regression

    config = modules["configs/logit_regression.py"].get_config("digits")
    assert methods.label(config.distill) == "logit_regression"
    assert config.distill.logit_regression.scale == 1.0  # The option is a key of the configuration.
    distiller = methods.from_options(config.distill.to_dict(), LABELS)
    value, (_, outputs), _, metrics = compiled(distiller)(*start(distiller))
    assert float(value) == float(metrics["ce/loss"] + metrics["logit_regression/loss"]) > 0
    assert np.isfinite(outputs.logits).all()
    assert np.any(outputs.logits)


def test_a_network_is_added_by_the_steps(tmp_path, monkeypatch):
    modules, (registered,) = follow("Add a network", tmp_path)
    for name, network in eval(registered, vars(modules["rdd_jax/models/small_conv_net.py"])).items():
        monkeypatch.setitem(models.MODELS, name, network)

    network = models.create("small_conv_net", num_classes=10, dtype=jnp.bfloat16)
    variables = models.init(network, jax.random.key(0), (8, 8, 1))
    output = network.apply(variables, jnp.zeros((2, 8, 8, 1)), train=False)
    assert isinstance(output, ModelOutput)
    assert (output.logits.shape, output.embedding.shape) == ((2, 10), (2, 64))
    assert output.logits.dtype == output.embedding.dtype == jnp.float32
    assert [feature_map.shape for feature_map in output.feature_maps] == [(2, 8, 8, 16), (2, 4, 4, 32), (2, 2, 2, 64)]
    exported = torch_state_dict.to_state_dict(variables)
    restored = torch_state_dict.from_state_dict(exported, "small_conv_net", 10, (8, 8, 1))
    jax.tree.map(np.testing.assert_array_equal, restored, dict(variables))


def test_a_data_set_is_added_by_the_steps(tmp_path, monkeypatch):
    _, (specs, new_presets) = follow("Add a data set", tmp_path)
    (name, spec), *_ = eval(specs, vars(datasets)).items()
    small = spec._replace(info=spec.info._replace(num_train=20, num_test=10))  # 55 MB otherwise.
    monkeypatch.setitem(datasets._SPECS, name, small)
    arrays = {"train": 20, "test": 10}
    np.savez(
        tmp_path / f"{spec.tfds_name}-{spec.tfds_version}.npz",  # The decoded images, as the first `load` caches them.
        **{f"{split}_images": np.zeros((count, *spec.info.image_shape), np.uint8) for split, count in arrays.items()},
        **{f"{split}_labels": np.arange(count, dtype=np.int32) % 10 for split, count in arrays.items()},
        class_names=np.array([f"class {label}" for label in range(spec.info.num_classes)]),
    )
    dataset = datasets.load(name, cache_dir=tmp_path)
    assert dataset.train_images.shape == (20, 28, 28, 1)
    assert (dataset.mean, dataset.std) == ((0.2860,), (0.3530,))

    for preset, keys in eval(new_presets).items():
        monkeypatch.setitem(presets.PRESETS, preset, keys)
    config = presets.get_config("fashion_mnist")
    assert (config.dataset, config.student.name, config.mining.epochs) == ("fashion_mnist", "resnet8", 5)
