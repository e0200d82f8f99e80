"""A function called in a process of its own: for what is settled when a process starts, and for its peak memory.

python -m experiments.fresh_process MODULE:FUNCTION '{"option": value}'      a result for each line that it reads
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

_ROOT = Path(__file__).parent.parent
_ANSWER = "answer: "  # Tells it from what else a program prints.


def call(function: str, options: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """What `function`, written "package.module:function", returns for these options, all of it sent as JSON.

    Args:
        function: what is called.
        options: its keyword arguments.
        environment: variables that are added to this process's own.

    Raises:
        RuntimeError: where the process fails; its own words are on stderr.
    """
    with Turns(function, options, environment) as process:
        return process.take()


class Turns:
    """A process that does a piece of work when it is its turn, and waits idly else; arguments are those of `call`.

    Of a generator function each turn is one item; of another the first turn is all.
    """

    def __init__(self, function: str, options: Mapping[str, Any], environment: Mapping[str, str] | None = None):
        self._what = f"{function} {json.dumps(options)}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.fresh_process", function, json.dumps(options)],
            cwd=_ROOT,  # Not the caller's folder: it is where the child finds the same code.
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._process.kill()
        self._process.communicate()

    def take(self) -> Any:
        """Waits for the next piece of work, and returns what it gave.

        Raises:
            RuntimeError: where the process fails; its own words are on stderr.
        """
        with contextlib.suppress(BrokenPipeError):  # It failed before its turn: the empty answer says so.
            self._process.stdin.write("next\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(_ANSWER):
                return json.loads(line.removeprefix(_ANSWER))
        raise RuntimeError(f"{self._what} ended with code {self._process.wait()}")


def with_xla_flag(flag: str) -> dict[str, str]:
    """{"XLA_FLAGS": this process's, with `flag`, written "--name=value", in the place of any value it had there}."""
    name = flag.partition("=")[0]
    others = [other for other in os.environ.get("XLA_FLAGS", "").split() if other.partition("=")[0] != name]
    return {"XLA_FLAGS": " ".join([*others, flag])}


def devices() -> dict[str, Any]:
    """{"backend", "count"}: what a process finds. Asked in one of its own, it takes the devices from no other."""
    return {"backend": jax.default_backend(), "count": jax.local_device_count()}


def _main() -> None:
    module, _, function = sys.argv[1].partition(":")
    result = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    for item in result if isinstance(result, Iterator) else [result]:
        sys.stdin.readline()
        print(_ANSWER + json.dumps(item), flush=True)


if __name__ == "__main__":
    _main()
