"""Errors that the program reports in one line, with exit code 2, instead of a traceback."""

import difflib
import unicodedata
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the input or the environment: one line that names the mistake and says how to correct it."""


class WorkdirLocked(UserError):
    """Another process is using the workdir."""


class TrainingDiverged(UserError):
    """The loss or the weights of a run are not finite, so that it cannot continue."""


class DataReadError(UserError):
    """An example could not be read from disk during the run."""


def is_plain_text(value: str) -> bool:
    """Tells whether a string can be a name: without control characters (such as NUL) and unpaired surrogates."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """Composes the message for an unknown name, with the most similar known name, if any, and all known names."""
    known = list(known)
    similar = difflib.get_close_matches(name, known, n=1)
    suggestion = f'; did you mean "{similar[0]}"?' if similar else ""
    return f'unknown {kind} "{name}"{suggestion} (known: {", ".join(known)})'
