"""The one kind of error that the program tells in a line instead of a traceback, and words for a common one."""

import difflib
import unicodedata
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user's: the message is one line that names the mistake and the mend."""


class Occupied(UserError):
    """Another process is at work where this one wants to be."""


class Diverged(UserError):
    """Loss or weights of a run are not finite, and it cannot go on."""


class Unreadable(UserError):
    """Data that are read as they are needed could not be."""


def is_text(value: str) -> bool:
    """Whether it can be a name: NUL, other control characters and halves of characters make errors of many kinds."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing has: with the nearest that something has, and all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'unknown {kind} "{name}"{hint} (known: {", ".join(known)})'
