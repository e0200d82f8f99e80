"""The files of a run, such that a crash cannot spoil them: written whole or not at all, one writer at a time.

What the operating system refuses becomes a UserError that names the file and the mend.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rdd_jax.core.errors import Occupied, UserError

_LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


MAKE_ROOM = "make room, and the same command goes on from the last checkpoint"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns an OSError of work on a file or folder into a UserError with its path, the reason and the mend."""
    try:
        yield
    except OSError as error:
        mend = MAKE_ROOM if is_full(error) else "give another place, or make this one readable and writable"
        raise UserError(f"{path}: {error.strerror or error}; {mend}") from error


def is_full(error: OSError) -> bool:
    """Tells whether an error says that there is no room left on a disk, or in what a user may write on it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_writable(folder: Path) -> None:
    """Makes sure that a folder can be written in, or made where there is none; leaves nothing behind.

    Raises:
        UserError: where it cannot.
    """
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        kind = "a link that leads to no folder" if place.is_symlink() else "not a folder"
        raise UserError(f"{place} is {kind}: give another place")
    with naming(place), tempfile.TemporaryFile(dir=place):
        pass


def require_room(folder: Path, nbytes: int) -> None:
    """Makes sure that a folder's disk has room for so many bytes, before half of them are written.

    Raises:
        UserError: where it has not.
    """
    with naming(folder):
        free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise UserError(
            f"{folder}: {free / 1e6:,.1f} MB of room are left and {nbytes / 1e6:,.1f} MB are needed; {MAKE_ROOM}"
        )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write what shall stand at `path`: readers, and crashes, see the old content or all of the new.

    Raises:
        UserError: where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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


def append_json(path: Path, line: dict[str, Any]) -> None:
    """Adds a line to a JSON-lines file; UserError where it cannot be written."""
    with naming(path), path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: where the file is missing, unreadable or damaged; the message names it, and ends with `mend` where it
            is damaged.
    """
    with naming(path):
        content = path.read_bytes()
    try:
        parsed = json.loads(content)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {mend}") from error
    if not isinstance(parsed, dict):
        raise UserError(f"{path} is damaged (it is no JSON object): {mend}")
    return parsed


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Reads a JSON-lines file, in order: one dict a line, [] where there is no file.

    A process killed while appending leaves half a last line; that line is ignored.

    Raises:
        UserError: the file cannot be read, or a line other than the last is not a JSON object; the message names the
            file and the line.
    """
    path = Path(path)
    if not path.exists():
        return []
    # Bytes, because a write may also be cut in the middle of a character; json decodes each line by itself.
    with naming(path):
        content = path.read_bytes()
    numbered = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
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
    lock = folder / _LOCK
    with contextlib.ExitStack() as stack:
        with naming(lock):
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Occupied(f"another process is at work in {folder}: wait for it, or give another place") from None
        for path in (*folder.glob(".*"), *folder.glob("figures/.*")):
            if _TEMPORARY.fullmatch(path.name):  # Of one that was killed while it wrote.
                path.unlink(missing_ok=True)
        yield


def is_locked(folder: Path) -> bool:
    """Tells whether another process has the lock of that workdir."""
    try:
        with (folder / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        return None
    return parsed if isinstance(parsed, dict) else None
