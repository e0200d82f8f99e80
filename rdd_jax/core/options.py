"""Checks that the dataclasses of options have in common."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LARGEST = 2**31 - 1  # Seeds and counts are i32 on the devices.


def check_numbers(options: "DataclassInstance", section: str, largest: Mapping[str, int] | None = None) -> None:
    """Raises ValueError for a number that is not finite or too large.

    Args:
        options: its fields of type int and float are checked.
        section: the section of the configuration that holds the fields, as in "sampler"; "" for the top level.
        largest: the largest allowed integer of a field, by the field's name; 2**31 - 1 for all others.
    """
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    check_values(values, section, largest or {})


def check_values(values: Mapping[str, Any], section: str, largest: Mapping[str, int]) -> None:
    """Does what `check_numbers` does, for a mapping of names to values."""
    for name, value in values.items():
        key = f"{section}.{name}" if section else name
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} must be finite; got {value}")
        limit = largest.get(name, _LARGEST)
        if isinstance(value, int) and value > limit:
            raise ValueError(f"{key} must be at most {limit:,}; got {value}")


def plain_arguments(name: str, arguments: Any) -> dict[str, Any]:
    """Returns arguments as config.json holds them, with tuples for lists.

    Args:
        name: the key of the configuration, for errors.
        arguments: values by name: text, numbers, True, False, None, and tuples and dictionaries of these.

    Raises:
        TypeError: where they are no mapping, or a value is of another type.
    """
    if not isinstance(arguments, Mapping):
        raise TypeError(f"{name} must be a section of arguments; got {arguments!r}")
    return {str(key): _as_plain_value(f"{name}.{key}", value) for key, value in arguments.items()}


def _as_plain_value(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_arguments(name, value)
    if isinstance(value, list | tuple):
        return tuple(_as_plain_value(name, inner) for inner in value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{name} must be text, a number, True, False, None, or tuples and dictionaries of these")
