"""The flags of the program, and the configuration that they make."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_collections
from absl import flags
from ml_collections import config_flags

from rdd_jax.analysis.explain import explain_run
from rdd_jax.analysis.prediction import predictions
from rdd_jax.cli import config_file
from rdd_jax.core import processes
from rdd_jax.core.errors import UserError
from rdd_jax.runs import records
from rdd_jax.runs.config import RunConfig

_USAGE = "python -m rdd_jax.main --config=configs/rdd.py[:PRESET] [--workdir=DIR] [--config.KEY=VALUE]"
_MODES = ("train", "evaluate", "export", "explain", "predict")


class Command(NamedTuple):
    """The parsed flags: `workdir` is "" where it is the usual one, `config` None where the workdir is an export."""

    config: RunConfig | None
    workdir: str
    mode: str
    explain: explain_run.Options
    images: tuple[str, ...]
    place: processes.ProcessSpec
    join_seconds: float


def configuration(arguments: list[str]) -> RunConfig:
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
    if len(rest) > 1:
        raise UserError(f'unexpected argument "{rest[1]}": flags begin with --')
    place = processes.ProcessSpec(known.coordinator, known.processes, known.process)
    images = _images(known)
    return Command(
        _checked(config) if config else None,
        known.workdir,
        known.mode,
        _explain_options(known),
        images,
        place,
        known.join_seconds,
    )


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
        return config_file.load(known.config)
    if known.config:
        raise UserError(
            f"--mode={known.mode} reads the configuration in the workdir: leave out --config={known.config}"
        )
    if known.mode == "predict" and predictions.is_export(Path(known.workdir)):
        return None
    return ml_collections.ConfigDict(records.read_config(Path(known.workdir)).to_dict()).lock()


def _checked(config: ml_collections.ConfigDict) -> RunConfig:
    """Makes the configuration that the program works with, with absolute paths of data and teacher.

    So a run's config.json means the same from any folder.

    Raises:
        UserError: for an impossible value, or keys that are missing or unknown.
    """
    try:
        run = RunConfig.from_dict(config.to_dict())
    except KeyError as error:
        raise UserError(
            f"the configuration has not the keys of a run ({error.args[0]}): start from rdd_jax.runs.presets.get_config"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    paths = {"data.folder": run.data.folder, "teacher.checkpoint": run.teacher.checkpoint}
    values = {key: _resolved(key, path) for key, path in paths.items() if path}
    if run.data.folder:
        values["dataset"] = ""  # The preset's, which is not read: reports would name it.
    return run.replaced(values)


def _resolved(key: str, path: str) -> str:
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError) as error:  # A loop of links, or nobody's home.
        raise UserError(f"{key} {path} cannot be found ({error}): give another") from error


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
