"""The program, `python -m rdd_jax.main`: its modes, and its exit codes."""

from rdd_jax.cli import startup

if __name__ == "__main__":
    startup.begin()

import json
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

import jax

from rdd_jax.analysis.explain import explain_run
from rdd_jax.analysis.prediction import predict_run
from rdd_jax.cli.command_line import Command, parse
from rdd_jax.cli.startup import INTERRUPTED
from rdd_jax.core import io, processes
from rdd_jax.core.errors import UserError
from rdd_jax.runs import export, layout, naming
from rdd_jax.runs.trained_models import evaluate
from rdd_jax.training import reopen
from rdd_jax.training.preemption import TrainingInterrupted
from rdd_jax.training.run import train

CLOSED_PIPE = 141  # What shells say of a process that SIGPIPE ended.
ABANDONED = 3


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code of `exit_code`."""
    return exit_code(lambda: _run(parse(arguments)))


def exit_code(work: Callable[[], int]) -> int:
    """Does the work of a program and tells what went wrong in a line; returns the exit code.

    0 when it is done or was asked to stop and has saved all, 2 for a mistake of the user's, 3 when another process of
    the run has ended without this one, 130 for an interruption, 141 when the reader of stdout has gone.
    """
    try:
        code = work()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _has_lost_its_reader(sys.stdout):  # It is the pipe of a worker.
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # For what is flushed at the end.
        return CLOSED_PIPE
    except UserError as error:
        print(f"rdd_jax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except TrainingInterrupted as stop:
        processes.print_once(f"rdd_jax: {stop}")
        return 0
    except OSError as error:
        if not io.is_disk_full(error):
            raise
        print(f"rdd_jax: {error.filename or 'a file'}: {error.strerror}; {io.FREE_SPACE_HINT}", file=sys.stderr)
        return 2
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).splitlines()[0][:160]
        print(f"rdd_jax: another process has ended ({reason}); the same commands go on", file=sys.stderr)
        return ABANDONED
    except KeyboardInterrupt:
        print("rdd_jax: interrupted; the same command goes on from the last checkpoint, if any", file=sys.stderr)
        return INTERRUPTED


def _has_lost_its_reader(stream: TextIO) -> bool:
    """Tells whether a stream is a pipe that nobody reads any more, as of `| head -1`."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _run(asked: Command) -> int:
    mode, folder = asked.mode, Path(asked.workdir or naming.RUNS / naming.run_name(asked.config))
    if asked.place != processes.ProcessSpec() and mode != "train":
        raise UserError(f"--coordinator, --processes and --process are for training, and not for --mode={mode}")
    config = asked.config
    if mode != "train" and config:
        config = reopen.configuration(folder, config, mode, named=not asked.workdir)
    if mode == "predict":
        print(predict_run.run(folder, asked.images, config))
        return 0
    if mode == "evaluate":
        print(json.dumps(evaluate(folder, config)))
        return 0
    if mode == "export":
        print(export.save(folder, config))
        return 0
    if mode == "explain":
        print(explain_run.run(folder, asked.explain, config))
        return 0
    processes.initialize(asked.place, asked.join_seconds)
    summary = train(asked.config, folder)
    student, teacher = summary["student"], summary["teacher"]
    processes.print_once(
        f"student {student['name']}: {student['accuracy']:.2f}% (best {student['best_accuracy']:.2f}%)"
    )
    if teacher:
        processes.print_once(f"teacher {teacher['name']}: {teacher['accuracy']:.2f}%")
    processes.print_once(f"report: {folder / layout.REPORT}")
    return 0


def leave(code: int) -> NoReturn:
    """Ends the program with the exit code of `exit_code`."""
    if not jax.distributed.is_initialized() or code in (INTERRUPTED, ABANDONED):
        # XLA may still be compiling or mining, and crashes when the interpreter is taken down under it; and a process
        # that has lost another would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    startup.imported()
    leave(main(sys.argv))
