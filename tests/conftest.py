"""Four fake devices for every test. pytest imports this before anything imports JAX."""

import os

# Most of a test is compilation, which takes a third less without optimisation. The programs of `starter` optimise.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import contextlib
import fcntl
import shutil
from collections import Counter

import jax
import pytest
from PIL import Image
from program import finish, starter


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Sorts the files by their number of slow tests, so that none of these is left to one worker in the end.

    Only one of the files that need `trained_runs` is at the beginning: another worker would wait while it is trained.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    sharing = sorted({item.path for item in items if "trained_runs" in item.fixturenames}, key=lambda path: -slow[path])
    waiting = set(sharing[1:])
    items.sort(key=lambda item: (not slow[item.path], item.path in waiting, -slow[item.path]))


@pytest.fixture
def num_devices():
    """The number of devices of this process, for a test that needs several."""
    if jax.local_device_count() == 1:
        pytest.skip("needs several devices: XLA_FLAGS=--xla_force_host_platform_device_count=4")
    return jax.local_device_count()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """A folder that all workers of this test session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="module")
def start(tmp_path_factory, session_folder):
    """Starts the program in a folder that all runs of a file share. The compiled programs are shared by all files."""
    return starter(tmp_path_factory.mktemp("program"), session_folder / "compiled")


@contextlib.contextmanager
def _exclusive(path):
    """Lets one worker at a time pass."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def trained_runs(session_folder):
    """The folder of an uninterrupted run and of its teacher, which the first worker that needs them trains."""
    folder = session_folder / "trained_runs"
    with _exclusive(session_folder / "trained_runs.lock"):
        if not (folder / "straight" / "summary.json").exists():
            folder.mkdir(exist_ok=True)
            finish(*starter(folder, session_folder / "compiled")("straight"))
    return folder


@pytest.fixture(scope="module")
def straight(start, trained_runs):
    """The workdir of a copy of the uninterrupted run, in the folder of `start`, beside a copy of its teacher."""
    shutil.copytree(trained_runs, start.folder, dirs_exist_ok=True)
    return start.folder / "straight"


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
