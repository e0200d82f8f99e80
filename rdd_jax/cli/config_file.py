"""Configuration files: Python files with a function get_config(preset) that returns a ConfigDict."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import ml_collections

from rdd_jax.core.errors import UserError, unknown_name_message

_PACKAGE = Path(__file__).parent.parent
# The project's own configurations: a part of the wheel, or beside the package in a clone.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
# Raised for mistakes in a configuration file.
_ERRORS = (SyntaxError, ImportError, NameError, AttributeError, LookupError, TypeError, ValueError)


def load(file_and_preset: str | None) -> ml_collections.ConfigDict:
    """Returns the locked configuration that FILE.py:PRESET or METHOD:PRESET stands for; ":PRESET" may be left out.

    Raises:
        UserError: if there is no such file, or it fails.
    """
    if not file_and_preset:
        raise UserError("which method? give its file, as in --config=configs/rdd.py, or its name, as in --config=rdd")
    name, _, preset = file_and_preset.partition(":")
    path = _find(name)
    try:
        config = _run(path).get_config(preset)
    except UserError:
        raise
    except _ERRORS as error:
        if _is_raised_by_the_package(error):
            raise
        raise UserError(f"{path} fails: {type(error).__name__}: {error}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(f"{path} fails: its get_config({preset!r}) returns no ConfigDict")
    return config.lock()


def _find(name: str) -> Path:
    """Finds a file by its path, or one of the project's own by METHOD or configs/METHOD.py in whatever folder."""
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    own = {file.stem: file for folder in _FOLDERS for file in sorted(folder.glob("*.py"))}
    if path.stem in own and name in (path.stem, f"configs/{path.stem}.py"):
        return own[path.stem]
    if path.suffix == ".py":
        raise UserError(f'there is no configuration file "{name}": give its path, or a method as in --config=rdd')
    raise UserError(f"{unknown_name_message('configuration', name, own)}; one of your own is given as FILE.py")


def _run(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.resolve().parent))  # As for a script: the file may import its neighbours.
    spec = importlib.util.spec_from_file_location("chosen_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_raised_by_the_package(error: Exception) -> bool:
    """Tells whether a line of rdd_jax raised the error, not the configuration file or a library."""
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    of_the_package = last.is_relative_to(_PACKAGE) and last != Path(__file__) and last.parent != _FOLDERS[0]
    return of_the_package and not isinstance(error, ValueError)  # ValueError is documented for mistaken arguments.
