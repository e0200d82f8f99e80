"""The program, `python -m rdd_jax.main` or `rdd-jax`."""

import sys
from typing import NoReturn

from rdd_jax.cli import startup


def main(arguments: list[str]) -> int:
    """Runs a command line, of which the first is the program's name; returns the exit code."""
    from rdd_jax.cli import program  # Imports JAX, which takes seconds.

    return program.main(arguments)


def run() -> NoReturn:
    """Runs the command line of this process, and ends it."""
    startup.catch_early_interrupts()
    try:
        from rdd_jax.cli import exit_codes, program
    except ModuleNotFoundError as error:
        startup.refuse_missing(error)
    startup.restore_interrupts()
    exit_codes.leave(program.main(sys.argv))


if __name__ == "__main__":
    run()
