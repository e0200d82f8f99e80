"""What README says is so: its code runs, its numbers are the code's, its commands are the ones that are checked."""

import re

import numpy as np
from networks import ONE_OF_EACH, PARAMETERS, variables_of
from program import ROOT

from configs import base
from experiments import readme
from rdd_jax import methods, models

README = (ROOT / "README.md").read_text()


def table(first_header):
    """The rows of the table whose first column has that header, each a list of cells."""
    rows = re.search(rf"^\| {first_header} \|.*\n\|[- |]+\n((?:\|.*\n)+)", README, re.MULTILINE).group(1)
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows.splitlines()]


def test_the_library_example_runs():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(code, names)
    assert np.isfinite(names["loss"])
    assert {"ce/loss", "rdd/loss"} <= names["metrics"].keys()


def test_the_networks_cost_what_the_table_says():
    rows = table("network")
    assert [name for name, *_ in rows] == list(models.MODELS)
    assert {name: parameters for name, parameters, _ in rows} == {name: f"{n:,}" for name, n in PARAMETERS.items()}
    for name, _, multiply_adds in rows:
        if name in ONE_OF_EACH:  # Tracing all of them takes half a minute.
            network, shapes = models.create(name, num_classes=100), variables_of(name)
            assert f"{models.count_multiply_adds(network, shapes, (32, 32, 3)) / 1e6:,.1f} M" == multiply_adds


def test_every_method_and_preset_is_listed():
    assert [name for name, *_ in table("method")] == list(methods.METHODS)
    assert [name.split("`")[0] for name, *_ in table("preset")] == list(base.PRESETS)


def test_the_checks_are_readmes_command():
    command = next(line.strip() for line in README.splitlines() if line.endswith("-m pytest"))
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command)


def test_the_results_are_those_that_are_kept():
    assert README.count("<!-- end -->") > 0
    assert readme.renewed(README) == README
