"""The flags with arguments of networks and optimizer, whose names no configuration knows."""

import ml_collections
import pytest

from rdd_jax.cli import command_line, keyword_arguments
from rdd_jax.core.errors import UserError


def taken(*arguments):
    config = ml_collections.ConfigDict(
        {section: {"kwargs": {}} for section in ("student", "teacher", "optimizer")}
    ).lock()
    return keyword_arguments.take(["program", *arguments], config), config.to_dict()


def test_values_are_literals_or_text():
    given = {"width": "32", "rate": "1e-3", "norm": "None", "sizes": "(8, 16)", "pool": "max", "bias": "True"}
    rest, config = taken("--config.seed=2", *(f"--config.student.kwargs.{key}={value}" for key, value in given.items()))
    assert rest == ["program", "--config.seed=2"]
    expected = {"width": 32, "rate": 1e-3, "norm": None, "sizes": (8, 16), "pool": "max", "bias": True}
    assert config["student"]["kwargs"] == expected


def test_the_value_may_be_the_next_argument():
    rest, config = taken("--config.teacher.kwargs.name_of_pool", "a=b", "--seed=1")
    assert (rest, config["teacher"]["kwargs"]) == (["program", "--seed=1"], {"name_of_pool": "a=b"})


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.student.kwargs.a.b=1", '"a.b" is no argument\'s name'),
        ("--config.student.kwargs.=1", '"" is no argument\'s name'),
        ("--config.student.kwargs.width", "--config.student.kwargs.width needs a value"),
    ],
)
def test_other_flags_are_refused(argument, words):
    with pytest.raises(UserError, match=words):
        taken(argument)


def test_the_configuration_holds_them():
    config = command_line.configuration(
        ["--config=kd", "--config.student.kwargs.widths=(4, 4, 8, 8)", "--config.teacher.kwargs.widths=[4, 4, 8, 8]"]
    )
    assert config.student.kwargs == config.teacher.kwargs == {"widths": (4, 4, 8, 8)}
    assert type(config).from_dict(config.to_dict()) == config


def test_the_optimizer_has_them_as_well():
    config = command_line.configuration(
        [
            "--config=kd",
            "--config.optimizer.name=adamw",
            "--config.optimizer.kwargs.b1=0.95",
            "--config.optimizer.ema=0.9",
        ]
    )
    assert config.optimizer.kwargs == {"b1": 0.95}
    assert config.optimizer.ema == 0.9


def test_an_argument_that_the_program_sets_is_refused():
    with pytest.raises(UserError, match=r"kwargs\.num_classes is an argument that the program sets"):
        command_line.configuration(["--config=kd", "--config.student.kwargs.num_classes=3"])
