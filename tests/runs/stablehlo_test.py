"""A network as StableHLO: it runs without this package, for any number of images, and is the same function."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from networks import random_variables

from rdd_jax import models
from rdd_jax.data.preprocessing import Preprocessing
from rdd_jax.data.resize import ResizeRule
from rdd_jax.runs import stablehlo

GRAY = Preprocessing(ResizeRule(8, 8), (0.5,), (0.2,))
# The code of docs/library.md, and a check of the modules that it has loaded.
USER = """
import sys
import jax.export
import numpy as np

file, images, logits = sys.argv[1:]
with open(file, "rb") as opened:
    student = jax.export.deserialize(bytearray(opened.read()))
np.save(logits, student.call(np.load(images)))
assert not [name for name in sys.modules if name.split(".")[0] in ("rdd_jax", "flax")]
"""


def test_it_runs_without_this_package(tmp_path):
    network = models.from_linen(models.create("resnet8", 10))
    variables = random_variables("resnet8", num_classes=10, channels=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    (tmp_path / "student.stablehlo").write_bytes(stablehlo.serialize(network, variables, GRAY))
    np.save(tmp_path / "images.npy", images)
    paths = [str(tmp_path / name) for name in ("student.stablehlo", "images.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", USER, *paths], check=True, cwd=tmp_path)
    wanted = jax.jit(lambda: network.apply(variables, GRAY.normalize(images), train=False)[0].logits)()
    found = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["vgg8", "shufflev1"])
def test_reshaping_networks_are_exported_for_any_batch_and_all_platforms(name):
    network = models.from_linen(models.create(name, 7))
    shapes = models.variable_shapes(network, (32, 32, 3))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    steps = Preprocessing(ResizeRule(32, 32), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    exported = jax.export.deserialize(bytearray(stablehlo.serialize(network, variables, steps)))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert str(exported.in_avals) == "(ShapedArray(uint8[b,32,32,3]),)"
    assert str(exported.out_avals) == "(ShapedArray(float32[b,7]),)"
