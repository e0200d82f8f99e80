"""Tests of README.md and docs/: code runs, tables equal the code, links and commands work."""

import importlib
import re

import numpy as np
import pytest
from networks import ONE_OF_EACH, PARAMETERS, variables_of
from pages import PAGES, README, page, python_blocks, table
from program import ROOT

import rdd_jax
from experiments import update_docs
from rdd_jax import methods, models
from rdd_jax.runs import naming, presets
from rdd_jax.runs.config import RunConfig

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WEIGHT = re.compile(r"([\d.]+)(?: \((\w+) ([\d.]+)\))?")


def test_the_example_of_readme_runs():
    (code,) = python_blocks(README)
    names = {}
    exec(code, names)
    assert np.isfinite(names["loss"])
    assert {"ce/loss", "kd/loss", "rdd/loss"} <= names["metrics"].keys()


def test_the_examples_of_the_library_page_run():
    names = {}
    for code in python_blocks(page("library")):
        exec(code, names)
    assert np.isfinite(names["kl"])
    assert np.isfinite(names["angles"])
    assert names["table"].negatives.shape == (8, 4)


def test_pages_are_short():
    assert len(README.splitlines()) <= 150
    assert {path.name for path, text in PAGES.items() if len(text.splitlines()) > 240} == set()


def test_networks_cost_what_the_table_says():
    rows = table(page("models"), "network")
    assert [name for name, *_ in rows] == list(models.MODELS)
    assert {name: parameters for name, parameters, _ in rows} == {name: f"{n:,}" for name, n in PARAMETERS.items()}
    for name, _, multiply_adds in rows:
        if name in ONE_OF_EACH:  # Tracing all of them takes half a minute.
            network, shapes = models.create(name, num_classes=100), variables_of(name)
            assert f"{models.count_multiply_adds(network, shapes, (32, 32, 3)) / 1e6:,.1f} M" == multiply_adds


@pytest.mark.parametrize(("text", "column"), [(README, 3), (page("methods"), 3)], ids=["README", "methods"])
def test_methods_are_listed_with_the_weights_of_their_configurations(text, column):
    rows = table(text, "method", columns=column + 1)
    assert [row[0] for row in rows] == list(methods.METHODS)
    for name, *cells in rows:
        weight, other, other_weight = WEIGHT.fullmatch(cells[column - 1]).groups()
        stated = {"ce": 1.0, name: float(weight)} | ({other: float(other_weight)} if other else {})
        distill = importlib.import_module(f"configs.{name}").get_config().distill
        stated = {term: weight for term, weight in stated.items() if weight}
        assert stated == {term: options.weight for term, options in distill.items() if options.weight}, name


def test_every_preset_is_listed():
    assert [name.split("`")[0] for name, *_ in table(page("cli"), "preset")] == list(presets.PRESETS)


@pytest.mark.parametrize("section", ["data", "augment", "mining", "sampler", "optimizer"])
def test_the_files_of_defaults_are_listed(section):
    options = type(getattr(RunConfig(), section))
    (path,) = [path for keys, _, path in table(page("cli"), "keys", columns=3) if f"{section}.*" in keys]
    assert options.__module__ == path.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize(
    ("preset", "weights", "changes"),
    [
        ("digits", {"kd": 0.9, "rdd": 0.8}, {}),
        ("cifar100_vgg13_mobilenetv2", {"kd": 0.9}, {"sampler.kind": "curriculum", "seed": 3}),
    ],
)
def test_names_of_runs_are_those_of_the_page(preset, weights, changes):
    config = RunConfig.from_dict(presets.get_config(preset, **weights).to_dict()).replaced(changes)
    assert f"`{naming.run_name(config)}`" in page("cli")


def test_the_documented_modules_can_be_imported():
    public, documented = table(page("library"), "name"), table(page("library"), "module")
    names = re.findall(r"rdd_jax\.(\w+)", " ".join(row[0] for row in public))
    assert sorted(names) == sorted(rdd_jax.__all__)
    for name in re.findall(r"rdd_jax[.\w]+", " ".join(row[0] for row in documented)):
        importlib.import_module(name)


def test_the_checks_are_readmes_command():
    command = next(line.strip() for line in README.splitlines() if line.endswith("-m pytest"))
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command)
    assert command in page("getting_started")


@pytest.mark.parametrize("path", list(PAGES), ids=lambda path: path.name)
def test_generated_tables_are_those_of_the_stored_results(path):
    assert update_docs.refresh(PAGES[path]) == PAGES[path], "run python -m experiments.update_docs"


def test_the_picture_of_readme_is_small():
    assert update_docs.PICTURE.stat().st_size < 100_000


def anchors(text):
    """GitHub's anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", list(PAGES), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    prose = re.sub(r"^    .*$|```.*?```", "", PAGES[path], flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(prose):
        if link.startswith(("http:", "https:")):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_every_page_is_in_the_index():
    names = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert names == set(re.findall(r"^\| \[([\w.]+)\]", page("README"), re.MULTILINE))
