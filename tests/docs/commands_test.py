"""The commands of README.md and docs/ are ones that the programs understand."""

import importlib.util
import re
import shlex

import pytest
from pages import PAGES, commands
from program import ROOT

from configs import rdd
from rdd_jax.cli import command_line
from rdd_jax.runs import presets, records
from rdd_jax.runs.config import RunConfig

COMMANDS = sorted({command for text in PAGES.values() for command in commands(text)})
# What stands for a user's own value.
PLACEHOLDER = re.compile(r"METHOD|MODE|KEY=VALUE|NETWORK|logit_regression|fashion_mnist|small_conv_net")
GRIDS = ("experiments.compare", "experiments.ablate")


def split(command):
    """-> (module, arguments) of "python -m module arguments"."""
    _, _, module, *arguments = shlex.split(command)
    return module, arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_the_module_is_there(command):
    assert importlib.util.find_spec(split(command)[0])


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if split(command)[0] == "rdd_jax.main" and not PLACEHOLDER.search(command)],
)
def test_the_program_takes_the_flags(command, monkeypatch):
    monkeypatch.setattr(records, "read_config", lambda workdir: RunConfig.from_dict(rdd.get_config("digits").to_dict()))
    parsed = command_line.parse(["rdd_jax", *split(command)[1]])
    assert parsed.config is not None


@pytest.mark.parametrize("command", [command for command in COMMANDS if split(command)[0] in GRIDS])
def test_a_comparison_varies_keys_that_there_are(command):
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in split(command)[1])
    preset = arguments.pop("preset", "cifar100_small")
    assert preset in presets.PRESETS
    keys = {key: value for key, value in arguments.items() if key.startswith("config.")}
    varied, _, values = arguments.pop("vary", "seed=0").partition("=")
    for method in arguments.pop("methods", "rdd").split(","):
        for value in values.split(","):
            overrides = [f"--{key}={setting}" for key, setting in keys.items()]
            command_line.configuration(
                [f"--config={ROOT}/configs/{method}.py:{preset}", f"--config.{varied}={value}", *overrides]
            )
