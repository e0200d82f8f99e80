"""Functions in Python files of the user, named as FILE.py:FUNCTION or package.module:FUNCTION."""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from rdd_jax.core.errors import UserError, unknown_name_message

_PACKAGE = Path(__file__).parent.parent
# Raised by code with a mistake.
_ERRORS = (
    *(SyntaxError, ImportError, NameError, AttributeError, LookupError, TypeError, ValueError),
    *(ArithmeticError, AssertionError, RuntimeError, OSError),
)


def is_reference(name: str) -> bool:
    """Tells FILE.py:FUNCTION and package.module:FUNCTION from other names."""
    return ":" in name


def absolute(reference: str) -> str:
    """Makes the path of FILE.py:FUNCTION absolute, to mean the same from any folder."""
    file, _, function = reference.rpartition(":")
    return f"{Path(file).expanduser().resolve()}:{function}" if file.endswith(".py") else reference


def short_name(name: str) -> str:
    """Returns FILE.py:FUNCTION without the folder of the file, and other names as they are."""
    file, separator, function = name.rpartition(":")
    return f"{Path(file).name}:{function}" if separator and file.endswith(".py") else name


def fingerprint(reference: str) -> str:
    """Hashes the file with the function: SHA-256, 64 hexadecimal digits.

    Raises:
        UserError: where there is no such file.
    """
    return hashlib.sha256(_read(_source(reference))).hexdigest()


def load(reference: str) -> Callable[..., Any]:
    """Runs the file, unless this process has done so, and returns the function.

    Raises:
        UserError: where there is no such file or function, or the file fails.
    """
    path, function = _source(reference), reference.rpartition(":")[2]
    module = _run(path, hashlib.sha256(_read(path)).hexdigest()) if _is_file(reference) else _import(reference)
    found = getattr(module, function, None)
    if not callable(found):
        public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UserError(f"{path}: {unknown_name_message('function', function, public)}")
    return found


@contextlib.contextmanager
def as_user_error(name: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the errors of the user's code inside the `with` block into a UserError; those of this package remain.

    Args:
        name: the code, for the message.
        *errors: further types of errors that it may raise, as of the libraries that it uses.
    """
    try:
        yield
    except UserError:
        raise
    except (*_ERRORS, *errors) as error:
        if _is_raised_by_the_package(error):
            raise
        reason = (str(error).strip() or "no reason given").splitlines()[0][:300]
        raise UserError(f"{name} fails: {type(error).__name__}: {reason}") from error


def _is_raised_by_the_package(error: Exception) -> bool:
    """Tells whether a line of rdd_jax raised an error that is no ValueError, which is documented for mistakes."""
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return last.is_relative_to(_PACKAGE) and not isinstance(error, ValueError)


def _is_file(reference: str) -> bool:
    return reference.rpartition(":")[0].endswith(".py")


def _source(reference: str) -> Path:
    """Returns the path of the file with the function."""
    place = reference.rpartition(":")[0]
    if _is_file(reference):
        path = Path(place)
        if not path.is_file():
            raise UserError(f"there is no file {path}: give its present place, as PLACE/{short_name(reference)}")
        return path
    with as_user_error(place):
        spec = importlib.util.find_spec(place)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise UserError(f'there is no Python module "{place}": install it, or give FILE.py:FUNCTION')
    return Path(spec.origin)


def _read(path: Path) -> bytes:
    with as_user_error(str(path)):
        return path.read_bytes()


def _import(reference: str) -> ModuleType:
    place = reference.rpartition(":")[0]
    with as_user_error(place):
        return importlib.import_module(place)


@functools.cache
def _run(path: Path, sha256: str) -> ModuleType:
    """Runs a file of that content."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # As for a script: the file may import its neighbours.
    name = f"{path.stem}_{sha256[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses look up their module.
    with as_user_error(str(path)):
        spec.loader.exec_module(module)
    return module
