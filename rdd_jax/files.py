"""The files of a run, such that a crash cannot spoil them: written whole or not at all, one writer at a time."""

import contextlib
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rdd_jax.errors import Occupied, UserError

CONFIG = "config.json"
DATA = "data.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
HISTOGRAMS = "histograms.jsonl"
REPORT = "report.html"
EXPORT = "export"
EXPLAIN = "explain"
EXPLANATION = "explanation.json"
EXPLANATION_PAGE = "index.html"
COMPILATIONS = ".compilations"
VIEWS = ".views"
EXPORTED_WEIGHTS = "student.safetensors"
EXPORTED_DESCRIPTION = "student.json"


_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write what shall stand at `path`: readers, and crashes, see the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file, as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of text, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_text` of an object as indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Reads a JSON-lines file, in order: one dict a line, [] where there is no file.

    A process killed while appending leaves half a last line; that line is ignored.

    Raises:
        UserError: a line other than the last is not a JSON object; the message names the file and the line.
    """
    path = Path(path)
    if not path.exists():
        return []
    # Bytes, because a write may also be cut in the middle of a character; json decodes each line by itself.
    numbered = [(n, line) for n, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip()]
    objects = [_parse(line) for _, line in numbered]
    for (number, _), parsed in zip(numbered[:-1], objects[:-1], strict=True):
        if parsed is None:
            raise UserError(f"{path}, line {number}: not a JSON object; remove the line or restore the file")
    return [parsed for parsed in objects if parsed is not None]


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts, by dotted keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a run's workdir until the end, however this one ends.

    Raises:
        Occupied: where another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Occupied(f"another process is at work in {folder}: wait for it, or give another place") from None
        for path in (*folder.glob(".*"), *folder.glob("figures/.*")):
            if _TEMPORARY.fullmatch(path.name):  # Of one that was killed while it wrote.
                path.unlink(missing_ok=True)
        yield


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        return None
    return parsed if isinstance(parsed, dict) else None
