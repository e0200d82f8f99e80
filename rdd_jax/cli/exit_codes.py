"""The exit codes of the program, and what it prints when it ends early."""

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

import jax

from rdd_jax.cli.startup import INTERRUPTED
from rdd_jax.core import io, processes
from rdd_jax.core.errors import UserError
from rdd_jax.training.preemption import TrainingInterrupted

MISTAKE = 2
ABANDONED = 3
CLOSED_PIPE = 141  # What shells say of a process that SIGPIPE ended.


def exit_code(work: Callable[[], int]) -> int:
    """Runs a program and prints one line for what went wrong; returns the exit code.

    Returns:
        What `work` returns; 0 for a run that was asked to stop and is saved; 2 for a mistake of the user's or a full
        disk; 3 for a computation that failed in a run of several processes, perhaps because another has ended; 130 for
        an interruption; 141 when the reader of stdout is gone.
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
        return MISTAKE
    except TrainingInterrupted as stop:
        processes.print_once(f"rdd_jax: {stop}")
        return 0
    except OSError as error:
        if not io.is_disk_full(error):
            raise
        print(f"rdd_jax: {error.filename or 'a file'}: {error.strerror}; {io.FREE_SPACE_HINT}", file=sys.stderr)
        return MISTAKE
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).splitlines()[0][:160]
        print(
            f"rdd_jax: a computation failed, perhaps because another process has ended ({reason}); run the same "
            "commands again to resume",
            file=sys.stderr,
        )
        return ABANDONED
    except KeyboardInterrupt:
        print(
            "rdd_jax: interrupted; run the same command again to resume from the last checkpoint, if any",
            file=sys.stderr,
        )
        return INTERRUPTED


def _has_lost_its_reader(stream: TextIO) -> bool:
    """Tells whether a stream is a pipe that nobody reads any more, as of `| head -1`."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def leave(code: int) -> NoReturn:
    """Ends the program with the exit code of `exit_code`."""
    if not jax.distributed.is_initialized() or code in (INTERRUPTED, ABANDONED):
        # XLA may still be compiling or mining, and crashes when the interpreter is taken down under it; and a process
        # that has lost another would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
