"""Four fake devices for every test. pytest imports this before anything imports JAX."""

import os

# Most of a test is compilation, which takes a third less without optimisation. The programs of `starter` optimise.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections import Counter

import jax
import pytest
from PIL import Image
from program import finish, starter


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with the most slow tests first, so that none of them is left to one worker in the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def num_devices():
    """The number of devices of this process, for a test that needs several."""
    if jax.local_device_count() == 1:
        pytest.skip("needs several devices: XLA_FLAGS=--xla_force_host_platform_device_count=4")
    return jax.local_device_count()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the program in a folder that all runs of a file share."""
    return starter(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def straight(start):
    """The workdir of a run that nothing disturbed."""
    return finish(*start("straight"))


@pytest.fixture
def folder(tmp_path):
    """Two classes of five images each, in sizes of their own, and as many to test on."""
    import prepared_imagenet  # And with it tensorflow_datasets, for which other tests should not wait.

    for split in ("train", "val"):
        for class_name in ("b", "a"):
            place = tmp_path / "pictures" / split / class_name / "deeper"
            place.mkdir(parents=True)
            for number in range(5):
                Image.fromarray(prepared_imagenet.picture(number)).save(place / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """A prepared imagenet2012 of a few images, where data sets are looked for."""
    import prepared_imagenet

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RDD_JAX_CACHE", str(tmp_path / "cache"))
    return prepared_imagenet.prepare(tmp_path)
