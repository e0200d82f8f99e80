"""The flags of the program, and the configuration that they make."""

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_collections
from absl import flags
from ml_collections import config_flags

from rdd_jax.analysis.explain import explain_run
from rdd_jax.analysis.prediction import predictions
from rdd_jax.core import io, processes
from rdd_jax.core.errors import UserError, is_plain_text
from rdd_jax.runs import records

_USAGE = "python -m rdd_jax.main --config=configs/rdd.py[:PRESET] [--workdir=DIR] [--config.KEY=VALUE]"
_MODES = ("train", "evaluate", "export", "explain", "predict")
# Raised for mistakes in a configuration file.
_CONFIG_ERRORS = (SyntaxError, ImportError, NameError, AttributeError, LookupError, TypeError, ValueError)


class Command(NamedTuple):
    """The parsed flags: `workdir` is "" where it is the usual one, `config` None where the workdir is an export."""

    config: ml_collections.ConfigDict | None
    workdir: str
    mode: str
    explain: explain_run.Options
    images: tuple[str, ...]
    place: processes.ProcessSpec
    join_seconds: float


def configuration(arguments: list[str]) -> ml_collections.ConfigDict:
    """Makes the configuration of the flags --config=FILE[:PRESET] and --config.KEY=VALUE.

    Raises:
        UserError: for a mistake in them.
    """
    return parse(["rdd_jax", *arguments]).config


def parse(arguments: list[str]) -> Command:
    """Reads the command line. A mistake, of whatever kind to the libraries, becomes a UserError.

    Whatever is done to a workdir but training starts from the configuration that the run has left there.

    In two passes, as the file named by --config decides which --config.KEY there are.
    """
    known, keys = flags.FlagValues(), flags.FlagValues()
    flags.DEFINE_string("config", None, "The method's file, with a preset after a colon.", flag_values=known)
    flags.DEFINE_string("workdir", "", "Where the run lives: runs/<method>-<preset>-seed<seed>.", flag_values=known)
    flags.DEFINE_enum("mode", "train", _MODES, "What to do.", flag_values=known)
    _define_place_flags(known)
    _define_explain_flags(known)
    flags.DEFINE_list("images", (), "Predict: image files, and folders of them.", flag_values=known)
    flags.DEFINE_bool("help", False, "Shows this.", short_name="h", flag_values=known)
    with _naming_mistakes():
        rest = known(arguments, known_only=True)
    if known.help:
        print(f"{_USAGE}\n{known.module_help(__name__)}", flush=True)
        raise SystemExit(0)
    config = _configuration(known)
    with _naming_mistakes():
        if config:
            config_flags.DEFINE_config_dict("config", config, flag_values=keys, sys_argv=rest)
        rest = keys(rest)
    if config:
        _check_texts(config)
        _resolve(config)
        if config.data.folder:
            config.dataset = ""  # The preset's, which is not read: reports would name it.
    if len(rest) > 1:
        raise UserError(f'unexpected argument "{rest[1]}": flags begin with --')
    place = processes.ProcessSpec(known.coordinator, known.processes, known.process)
    images = _images(known)
    return Command(config, known.workdir, known.mode, _explain_options(known), images, place, known.join_seconds)


@contextlib.contextmanager
def _naming_mistakes() -> Iterator[None]:
    """Turns the errors of absl and ml_collections for a mistaken flag into a UserError."""
    try:
        yield
    except (AttributeError, KeyError) as error:
        # ml_collections' words, quoted once or twice: the key, and perhaps a line with the nearest one.
        key, _, hint = str(error.args[0]).replace("\\n", "\n").partition("\n")
        key, hint = (part.replace("'", "").replace("\\", "").replace('"', "") for part in (key, hint))
        raise UserError(f'the configuration has no key "{key}"{hint and "; "}{hint.lower()}') from error
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"{error}; keys of the configuration are set by --config.KEY=VALUE") from error
    except (TypeError, ValueError, flags.Error) as error:
        raise UserError(str(error)) from error
    except MemoryError as error:  # Python's parser, of a tuple in a tuple in a tuple and so on.
        raise UserError(
            "a value has too many brackets within each other: tuples are written as in (0.5, 0.75)"
        ) from error


def _configuration(known: flags.FlagValues) -> ml_collections.ConfigDict | None:
    """The configuration in a file or in a workdir, before single keys are set; None where the workdir is an export."""
    if known.mode != "train" and not known.config and not known.workdir:
        raise UserError(f"which run? give its folder, as in --mode={known.mode} --workdir=runs/rdd-digits-seed0")
    if known.mode == "train" or not known.workdir:
        return _load(known.config)
    if known.config:
        raise UserError(
            f"--mode={known.mode} reads the configuration in the workdir: leave out --config={known.config}"
        )
    if known.mode == "predict" and predictions.is_export(Path(known.workdir)):
        return None
    return records.read_config(Path(known.workdir)).lock()


def _check_texts(config: ml_collections.ConfigDict) -> None:
    """Names and places become parts of paths, where NUL and what is no text raise errors of many kinds."""
    for key, value in io.flatten(config.to_dict()):
        if isinstance(value, str) and not is_plain_text(value):
            raise UserError(f"{key} must be text without control characters; got {value!r}")


def _resolve(config: ml_collections.ConfigDict) -> None:
    """Makes the paths of data and teacher absolute, so that a run's config.json means the same from any folder."""
    for group, key in (("data", "folder"), ("teacher", "checkpoint")):
        if path := config[group][key]:
            try:
                config[group][key] = str(Path(path).expanduser().resolve())
            except (OSError, RuntimeError) as error:  # A loop of links, or nobody's home.
                raise UserError(f"{group}.{key} {path} cannot be found ({error}): give another") from error


def _define_place_flags(known: flags.FlagValues) -> None:
    default, own = processes.ProcessSpec(), {"flag_values": known}
    flags.DEFINE_string("coordinator", default.coordinator, "Several processes: HOST:PORT of the first.", **own)
    flags.DEFINE_integer("processes", default.processes, "Several processes: how many.", **own)
    flags.DEFINE_integer("process", default.process, "Several processes: which this is, from 0.", **own)
    patience = "Several processes: for how long they wait for each other at the start."
    flags.DEFINE_float("join_seconds", processes.JOIN_SECONDS, patience, **own)


def _define_explain_flags(known: flags.FlagValues) -> None:
    default, own = explain_run.Options(), {"flag_values": known}
    flags.DEFINE_string("against", default.against, "Explain: another run's workdir, not the teacher.", **own)
    flags.DEFINE_string("dataset", default.dataset, "Explain: a data set; by default the run's own.", **own)
    flags.DEFINE_enum("split", default.split, ["test", "train"], "Explain: which of its images.", **own)
    flags.DEFINE_list("classes", default.classes, "Explain: only these names or labels, as in 3,5,8.", **own)
    flags.DEFINE_integer("examples", default.examples, "Explain: the first so many images of those.", **own)
    flags.DEFINE_integer("clusters", default.clusters, "Explain: at most so many in each direction.", **own)


def _explain_options(known: flags.FlagValues) -> explain_run.Options:
    given = [name for name in explain_run.Options._fields if known[name].present]
    if given and known.mode != "explain":
        raise UserError(f"--{given[0]} is for --mode=explain; keys of the configuration are set by --config.KEY=VALUE")
    options = explain_run.Options(*(known[name].value for name in explain_run.Options._fields))
    return options._replace(classes=tuple(options.classes))


def _images(known: flags.FlagValues) -> tuple[str, ...]:
    if known["images"].present and known.mode != "predict":
        raise UserError("--images is for --mode=predict")
    return tuple(known.images)


def _load(file_and_preset: str | None) -> ml_collections.ConfigDict:
    """configs/rdd.py:PRESET -> what its get_config(PRESET) returns, locked."""
    if not file_and_preset:
        raise UserError("which method? give its file, as in --config=configs/rdd.py")
    name, _, preset = file_and_preset.partition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f'there is no configuration file "{name}": try configs/rdd.py, from the root of the project')
    # Configurations import their neighbours as `configs`, also when the program runs in another folder.
    sys.path.insert(0, str(path.resolve().parent.parent))
    spec = importlib.util.spec_from_file_location("chosen_config", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(preset)
    except UserError:
        raise
    except _CONFIG_ERRORS as error:
        if _is_raised_by_the_package(error):
            raise
        raise UserError(f"{path} fails: {type(error).__name__}: {error}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(f"{path} fails: its get_config({preset!r}) returns no ConfigDict")
    return config.lock()


def _is_raised_by_the_package(error: Exception) -> bool:
    """Tells whether a line of rdd_jax raised the error, not the configuration file or a library."""
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    is_of_the_package = last.is_relative_to(Path(__file__).parent.parent) and last != Path(__file__)
    return is_of_the_package and not isinstance(error, ValueError)  # ValueError is documented for mistaken arguments.
