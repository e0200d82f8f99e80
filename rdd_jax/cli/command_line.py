"""The command line: its flags, and the configuration that they make."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
from absl import flags
from ml_collections import config_flags

from rdd_jax.analysis.explain import options as explain_options
from rdd_jax.analysis.prediction import predictions
from rdd_jax.cli import config_file, keyword_arguments
from rdd_jax.core import processes, user_code
from rdd_jax.core.errors import UserError
from rdd_jax.data import own_data
from rdd_jax.runs import records
from rdd_jax.runs.config import RunConfig

_USAGE = "python -m rdd_jax.main --config=configs/METHOD.py[:PRESET] [--workdir=DIR] [--mode=MODE] [--config.KEY=VALUE]"
_MODES = ("train", "evaluate", "export", "explain", "predict")


class Command(NamedTuple):
    """A parsed command line.

    config: the run's configuration; None where the workdir is an export, which has none.
    workdir: the run's folder; "" for the default.
    mode: one of train, evaluate, export, explain and predict.
    explain: the options of --mode=explain.
    images: the files and folders of --mode=predict.
    process: this process among those of the run.
    join_seconds: the time for which the processes of a run wait for each other.
    """

    config: RunConfig | None
    workdir: str
    mode: str
    explain: explain_options.Options
    images: tuple[str, ...]
    process: processes.ProcessSpec
    join_seconds: float


def configuration(arguments: list[str]) -> RunConfig:
    """Makes the configuration of the flags --config=FILE[:PRESET] and --config.KEY=VALUE.

    Raises:
        UserError: for a mistake in them.
    """
    config = parse(["rdd_jax", *arguments]).config
    assert config is not None  # Only --mode=predict has none.
    return config


def parse(arguments: list[str]) -> Command:
    """Parses a command line, of which the first argument is the program's name.

    The flags are parsed first, then the keys --config.KEY=VALUE: the file that --config names decides which there are.
    The arguments of networks and optimizer, whose names no file decides, are taken out before.

    Raises:
        UserError: for any mistake.
    """
    parsed = _define_flags()
    with _mistakes_as_user_errors():
        rest = parsed(arguments, known_only=True)
    if parsed.help:
        print(f"{_USAGE}\n{parsed.module_help(__name__)}", flush=True)
        raise SystemExit(0)
    config, keys = _load_config(parsed), flags.FlagValues()
    with _mistakes_as_user_errors():
        if config:
            rest = keyword_arguments.take(rest, config)
            config_flags.DEFINE_config_dict("config", config, flag_values=keys, sys_argv=rest)
        rest = keys(rest)
    if len(rest) > 1:
        raise UserError(f'unexpected argument "{rest[1]}": flags begin with --')
    return Command(
        config=_resolve(config) if config else None,
        workdir=parsed.workdir,
        mode=parsed.mode,
        explain=_explain_options(parsed),
        images=_images(parsed),
        process=processes.ProcessSpec(parsed.coordinator, parsed.processes, parsed.process),
        join_seconds=parsed.join_seconds,
    )


def _define_flags() -> flags.FlagValues:
    """Defines all flags but --config.KEY."""
    values = flags.FlagValues()
    own = {"flag_values": values}
    flags.DEFINE_string("config", None, "The method's file or name, with a preset after a colon.", **own)
    flags.DEFINE_string("workdir", "", "The run's folder; runs/<method>-<preset>-seed<seed> by default.", **own)
    flags.DEFINE_enum("mode", "train", _MODES, "The work to do.", **own)
    flags.DEFINE_list("images", (), "Predict: image files, and folders of them.", **own)
    flags.DEFINE_bool("help", False, "Prints this text.", short_name="h", **own)
    process = processes.ProcessSpec()
    flags.DEFINE_string("coordinator", process.coordinator, "Several processes: HOST:PORT of the first.", **own)
    flags.DEFINE_integer("processes", process.processes, "Several processes: their number.", **own)
    flags.DEFINE_integer("process", process.process, "Several processes: the number of this one, from 0.", **own)
    wait = "Several processes: the seconds for which they wait for each other at the start."
    flags.DEFINE_float("join_seconds", processes.JOIN_SECONDS, wait, **own)
    explain = explain_options.Options()
    flags.DEFINE_string("against", explain.against, "Explain: another run's workdir instead of the teacher.", **own)
    flags.DEFINE_string("dataset", explain.dataset, "Explain: a data set; the run's own by default.", **own)
    flags.DEFINE_enum("split", explain.split, ["test", "train"], "Explain: the split of it.", **own)
    flags.DEFINE_list("classes", explain.classes, "Explain: only these names or labels, as in 3,5,8.", **own)
    flags.DEFINE_integer("examples", explain.examples, "Explain: the number of images, from the first on.", **own)
    flags.DEFINE_integer("clusters", explain.clusters, "Explain: the largest number of clusters a direction.", **own)
    return values


@contextlib.contextmanager
def _mistakes_as_user_errors() -> Iterator[None]:
    """Turns the errors of absl and ml_collections for a mistaken flag into a UserError."""
    try:
        yield
    except (AttributeError, KeyError) as error:
        # ml_collections' message, quoted once or twice: the key, and perhaps a line with the nearest one.
        key, _, hint = str(error.args[0]).replace("\\n", "\n").partition("\n")
        key, hint = (part.replace("'", "").replace("\\", "").replace('"', "") for part in (key, hint))
        raise UserError(f'the configuration has no key "{key}"{hint and "; "}{hint.lower()}') from error
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"{error}; keys of the configuration are set by --config.KEY=VALUE") from error
    except (TypeError, ValueError, flags.Error) as error:
        raise UserError(str(error)) from error
    except MemoryError as error:  # Raised by Python's parser for deeply nested brackets.
        raise UserError(
            "a value has too many brackets within each other: tuples are written as in (0.5, 0.75)"
        ) from error


def _load_config(parsed: flags.FlagValues) -> ml_collections.ConfigDict | None:
    """Loads the configuration of a file or of a workdir, before single keys are set; None where it is an export."""
    if parsed.mode != "train" and not parsed.config and not parsed.workdir:
        raise UserError(f"which run? give its folder, as in --mode={parsed.mode} --workdir=runs/rdd-digits-seed0")
    if parsed.mode == "train" or not parsed.workdir:
        return config_file.load(parsed.config)
    if parsed.config:
        raise UserError(
            f"--mode={parsed.mode} reads the configuration in the workdir: leave out --config={parsed.config}"
        )
    if parsed.mode == "predict" and predictions.is_export(Path(parsed.workdir)):
        return None
    return ml_collections.ConfigDict(records.read_config(Path(parsed.workdir)).to_dict()).lock()


def _resolve(config: ml_collections.ConfigDict) -> RunConfig:
    """Makes the checked configuration of a run; the paths in it are absolute, to mean the same from any folder.

    Raises:
        UserError: for an impossible value, or keys that are missing or unknown.
    """
    try:
        run = RunConfig.from_dict(config.to_dict())
    except KeyError as error:
        raise UserError(
            f"the configuration lacks a key or has a strange one ({error.args[0]}): start from "
            "rdd_jax.runs.presets.get_config"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    paths = {"data.folder": run.data.folder, "teacher.checkpoint": run.teacher.checkpoint}
    values = {key: _absolute(key, path) for key, path in paths.items() if path}
    if own_data.is_own(run.dataset):
        values["dataset"] = own_data.absolute(run.dataset)
    networks = {"student.name": run.student.name, "teacher.name": run.teacher.name}
    values |= {key: user_code.absolute(name) for key, name in networks.items()}
    values["teacher.members"] = ",".join(
        f"{user_code.absolute(name)}@{_absolute('teacher.members', path)}"
        for name, path in run.teacher.parsed_members()
    )
    if run.data.folder:
        values["dataset"] = ""  # The preset's is not read, and reports would name it.
    return run.replaced(values)


def _absolute(key: str, path: str) -> str:
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError) as error:  # A loop of links, or an unknown user's home.
        raise UserError(f"{key} {path} cannot be found ({error}): give another") from error


def _explain_options(parsed: flags.FlagValues) -> explain_options.Options:
    given = [name for name in explain_options.Options._fields if parsed[name].present]
    if given and parsed.mode != "explain":
        raise UserError(f"--{given[0]} is for --mode=explain; keys of the configuration are set by --config.KEY=VALUE")
    values: dict[str, Any] = {name: parsed[name].value for name in explain_options.Options._fields}
    return explain_options.Options(**values | {"classes": tuple(values["classes"])})


def _images(parsed: flags.FlagValues) -> tuple[str, ...]:
    if parsed["images"].present and parsed.mode != "predict":
        raise UserError("--images is for --mode=predict")
    return tuple(parsed.images)
