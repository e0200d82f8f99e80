"""The flags --config.SECTION.kwargs.KEY=VALUE, of the sections student, teacher and optimizer."""

import ast
import re
from typing import Any

import ml_collections

from rdd_jax.core.errors import UserError

_FLAG = re.compile(r"--?config\.(student|teacher|optimizer)\.kwargs\.(.*)", re.DOTALL)


def take(arguments: list[str], config: ml_collections.ConfigDict) -> list[str]:
    """Sets the arguments of networks and optimizer in a configuration, and returns the remaining command line.

    ml_collections has flags for the keys alone that a configuration has already, and these arguments may have any name.
    A value is a Python literal, as in 32, 0.1, True, None or (8,16), and text if it is none.

    Args:
        arguments: a command line; the value may stand in the same argument or in the next.
        config: receives the values.

    Raises:
        UserError: for a key that is no name, or a flag without a value.
    """
    rest, remaining = [], iter(arguments)
    for argument in remaining:
        match = _FLAG.fullmatch(argument)
        if not match:
            rest.append(argument)
            continue
        section, assignment = match.groups()
        key, separator, value = assignment.partition("=")
        if not key.isidentifier():
            raise UserError(f'"{key}" is no argument\'s name: write --config.{section}.kwargs.KEY=VALUE')
        if not separator:
            value = next(remaining, None)
        if value is None:
            raise UserError(
                f"--config.{section}.kwargs.{key} needs a value: write --config.{section}.kwargs.{key}=VALUE"
            )
        with config.unlocked():
            config[section].kwargs[key] = _literal(value)
    return rest


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
