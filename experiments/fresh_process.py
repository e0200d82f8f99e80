"""A function called in a process of its own: for what is settled when a process starts, and for its peak memory.

python -m experiments.fresh_process MODULE:FUNCTION '{"option": value}'
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
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
    command = [sys.executable, "-m", "experiments.fresh_process", function, json.dumps(options)]
    # Not in the caller's folder, but where the child finds the same code.
    child = subprocess.run(
        command, cwd=_ROOT, env=os.environ | dict(environment or {}), stdout=subprocess.PIPE, text=True
    )
    answers = [line for line in child.stdout.splitlines() if line.startswith(_ANSWER)]
    if child.returncode or not answers:
        raise RuntimeError(f"{function} {json.dumps(options)} ended with code {child.returncode}")
    return json.loads(answers[-1].removeprefix(_ANSWER))


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
    print(_ANSWER + json.dumps(result))


if __name__ == "__main__":
    _main()
