"""The public interface, the requirements, and what is imported without the extras."""

import subprocess
import sys
import tomllib

import pytest
from program import ROOT

import rdd_jax

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What the extras install, by the names that are imported.
IMPORTED = ("array_record", "clu", "grain", "jinja2", "matplotlib", "ml_collections", "orbax", "PIL")
IMPORTED += ("safetensors", "sklearn", "tensorboardX", "tensorflow_datasets", "tqdm")


@pytest.mark.parametrize("name", rdd_jax.__all__)
def test_public_names_exist(name):
    assert getattr(rdd_jax, name) is not None
    assert name in dir(rdd_jax)


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rdd_jax.nothing  # noqa: B018


def test_the_library_needs_no_extras():
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in IMPORTED)
    names = sorted({*rdd_jax.__all__} - {"Result", "distill", "evaluate", "load"})
    code = f"import sys; {blocked}import rdd_jax; [getattr(rdd_jax, name) for name in {names}]"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_names_a_missing_package_in_one_line():
    code = (
        "import sys; sys.modules['ml_collections'] = None; sys.argv = ['rdd-jax']; from rdd_jax.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "ml_collections is not installed: pip install 'rdd_jax[train]'" in done.stderr


def test_requirements_txt_is_all_that_the_program_and_the_experiments_need():
    def packages(lines):
        return {line.split("#")[0].replace(" ", "") for line in lines if line.split("#")[0].strip()}

    statistics = {line for line in EXTRAS["test"] if line.startswith("scipy")}
    declared = {*PROJECT["dependencies"], *EXTRAS["data"], *EXTRAS["report"], *EXTRAS["train"], *statistics}
    declared.discard("rdd_jax[data,report]")
    assert packages((ROOT / "requirements.txt").read_text().splitlines()) == packages(declared)
    assert EXTRAS["test"][0] == "rdd_jax[train]"
