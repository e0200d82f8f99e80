"""Files that a crash cannot spoil: written whole or not at all, and read past a half-written last line."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file in one step: a reader, or a crash, sees the old content or the new. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            # mkstemp makes files that their owner alone can read.
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
        ValueError: a line other than the last is not a JSON object; the message names the file and the line.
    """
    path = Path(path)
    if not path.exists():
        return []
    # Bytes, because a write may also be cut in the middle of a character; json decodes each line by itself.
    numbered = [(n, line) for n, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip()]
    objects = [_parse(line) for _, line in numbered]
    for (number, _), parsed in zip(numbered[:-1], objects[:-1], strict=True):
        if parsed is None:
            raise ValueError(f"{path}, line {number}: not a JSON object; remove the line or restore the file")
    return [parsed for parsed in objects if parsed is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        return None
    return parsed if isinstance(parsed, dict) else None
