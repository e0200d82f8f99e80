"""The modes of the program."""

import json
from pathlib import Path

from rdd_jax.analysis.explain import explain_run
from rdd_jax.analysis.prediction import predict_run
from rdd_jax.cli.command_line import Command, parse
from rdd_jax.cli.exit_codes import exit_code
from rdd_jax.core import processes
from rdd_jax.core.errors import UserError
from rdd_jax.runs import export, layout, naming
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import evaluate
from rdd_jax.training import reopen
from rdd_jax.training.run import train


def main(arguments: list[str]) -> int:
    """Runs a command line, of which the first is the program's name; returns the exit code of `exit_code`."""
    return exit_code(lambda: _run(parse(arguments)))


def _run(command: Command) -> int:
    workdir = _workdir(command)
    if command.mode == "train":
        assert command.config is not None
        processes.initialize(command.process, command.join_seconds)
        _train(command.config, workdir)
        return 0
    if command.process != processes.ProcessSpec():
        raise UserError(f"--coordinator, --processes and --process are for training, not for --mode={command.mode}")
    print(_run_on_finished_run(command, workdir))
    return 0


def _workdir(command: Command) -> Path:
    if command.workdir:
        return Path(command.workdir)
    assert command.config is not None  # An export, which has no configuration, is given by its --workdir.
    return naming.RUNS / naming.run_name(command.config)


def _run_on_finished_run(command: Command, workdir: Path) -> object:
    """Runs a mode other than training on a finished run; returns the object to print."""
    config = command.config
    if config:
        config = reopen.configuration(workdir, config, command.mode, named=not command.workdir)
    if command.mode == "predict":
        return predict_run.run(workdir, command.images, config)
    if command.mode == "evaluate":
        return json.dumps(evaluate(workdir, config))
    if command.mode == "export":
        return export.save(workdir, config)
    return explain_run.run(workdir, command.explain, config)


def _train(config: RunConfig, workdir: Path) -> None:
    summary = train(config, workdir)
    student, teacher = summary["student"], summary["teacher"]
    processes.print_once(
        f"student {student['name']}: {student['accuracy']:.2f}% (best {student['best_accuracy']:.2f}%)"
    )
    if teacher:
        processes.print_once(f"teacher {teacher['name']}: {teacher['accuracy']:.2f}%")
    processes.print_once(f"report: {workdir / layout.REPORT}")
