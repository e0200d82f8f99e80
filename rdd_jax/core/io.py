"""Files that survive crashes: atomic writes, JSON and JSON lines, checks of disk space, the lock of a workdir.

Errors of the operating system become a `UserError` that names the file.
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
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rdd_jax.core.errors import UserError, WorkdirLocked

_LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")  # The names that `atomic_write` gives its temporary files.

FREE_SPACE_HINT = "free some space, and run the same command again to resume from the last checkpoint"


@contextlib.contextmanager
def as_user_error(path: Path) -> Generator[None]:
    """Turns an OSError inside the `with` block into a UserError with the path, the reason and a hint."""
    try:
        yield
    except OSError as error:
        hint = FREE_SPACE_HINT if is_disk_full(error) else "give another path, or make this one readable and writable"
        raise UserError(f"{path}: {error.strerror or error}; {hint}") from error


def is_disk_full(error: OSError) -> bool:
    """Tells whether an error means a full disk, an exhausted quota or a file above the size limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_writable(folder: Path) -> None:
    """Checks that files can be created in a folder, or that the folder can be created. Leaves nothing behind.

    Raises:
        UserError: if they cannot.
    """
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        kind = "a link that leads to no folder" if existing.is_symlink() else "not a folder"
        raise UserError(f"{existing} is {kind}: give another path")
    with as_user_error(existing), tempfile.TemporaryFile(dir=existing):
        pass


def require_free_space(folder: Path, nbytes: int) -> None:
    """Checks that a folder's disk has `nbytes` free.

    Raises:
        UserError: if it has less.
    """
    with as_user_error(folder):
        free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise UserError(
            f"{folder}: {nbytes / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; {FREE_SPACE_HINT}"
        )


@contextlib.contextmanager
def atomic_write(path: Path) -> Generator[BinaryIO]:
    """Opens a temporary file that replaces `path` at the end of the `with` block.

    A reader sees the old content or all of the new content, also after a crash. Missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with as_user_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes or replaces a file atomically; see `atomic_write`."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Writes text atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes an object atomically, as indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def append_json_line(path: Path, line: dict[str, Any]) -> None:
    """Appends an object to a JSON-lines file.

    Raises:
        UserError: if the file cannot be written.
    """
    with as_user_error(path), path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: the file.
        hint: the end of the error message for a damaged file: what the user can do.

    Raises:
        UserError: if the file is missing, unreadable or damaged.
    """
    with as_user_error(path):
        content = path.read_bytes()
    try:
        parsed = json.loads(content)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {hint}") from error
    if not isinstance(parsed, dict):
        raise UserError(f"{path} is damaged (it is no JSON object): {hint}")
    return parsed


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Reads a JSON-lines file, in order: one dict a line, [] where there is no file.

    An incomplete last line, which a process leaves that was killed while appending, is ignored.

    Raises:
        UserError: if the file cannot be read, or a line before the last is not a JSON object.
    """
    path = Path(path)
    if not path.exists():
        return []
    # Read as bytes, because the last line may end inside a character; json decodes each line separately.
    with as_user_error(path):
        content = path.read_bytes()
    numbered = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    objects = [_parse(line) for _, line in numbered]
    for (number, _), parsed in zip(numbered[:-1], objects[:-1], strict=True):
        if parsed is None:
            raise UserError(f"{path}, line {number}: not a JSON object; remove the line or restore the file")
    return [parsed for parsed in objects if parsed is not None]


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested dicts, with the keys joined by dots."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@contextlib.contextmanager
def workdir_lock(folder: Path) -> Generator[None]:
    """Locks a workdir, which is created if it is missing, and deletes temporary files left by killed processes.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        WorkdirLocked: if another process has the lock.
        UserError: if the workdir cannot be written.
    """
    lock = folder / _LOCK
    with contextlib.ExitStack() as stack:
        with as_user_error(lock):
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WorkdirLocked(f"another process is using {folder}: wait for it, or give another path") from None
        for path in (*folder.glob(".*"), *folder.glob("figures/.*")):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield


def is_locked(folder: Path) -> bool:
    """Tells whether another process has locked the workdir."""
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
    except ValueError:  # JSONDecodeError or UnicodeDecodeError.
        return None
    return parsed if isinstance(parsed, dict) else None
