"""Files that cannot be read or written: one line that names them, and nothing left behind."""

import os
import shutil
from types import SimpleNamespace

import pytest

from rdd_jax.core import io
from rdd_jax.core.errors import UserError


@pytest.fixture
def in_the_way(tmp_path):
    """A file, a link to nothing and a link to itself."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file", "file is not a folder"),
        ("file/below", "file is not a folder"),
        ("dangling", "dangling is a link that leads to no folder"),
        ("loop/below", "loop is a link that leads to no folder"),
        ("/proc/x", "/proc: No such file"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(in_the_way, name, words):
    before = sorted(in_the_way.rglob("*"))
    with pytest.raises(UserError, match=words):
        io.check_writable(in_the_way / name)
    with pytest.raises(UserError, match=name), io.workdir_lock(in_the_way / name):
        pass
    assert sorted(in_the_way.rglob("*")) == before


def test_checking_a_writable_folder_leaves_nothing_behind(tmp_path):
    io.check_writable(tmp_path / "a" / "b")
    io.check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [lambda path: io.write_json(path, {}), lambda path: io.append_json_line(path, {})])
def test_a_file_that_cannot_be_written_is_named(tmp_path, write):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config.json: Is a directory; give another path"):
        write(tmp_path / "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_on_a_full_disk_the_file_is_named():
    with pytest.raises(UserError, match="/dev/full: No space left on device; free some space"):
        io.append_json_line(io.Path("/dev/full"), {})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_damaged_json_file_is_named_with_the_hint(tmp_path, content):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"summary.json is damaged .*: delete it"):
        io.read_json(path, "delete it")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    for read in (io.read_json_lines, lambda path: io.read_json(path, "")):
        with pytest.raises(UserError, match="Is a directory"):
            read(tmp_path)


def test_missing_disk_space_is_reported_in_megabytes(tmp_path, monkeypatch):
    io.require_free_space(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_500_000))
    io.require_free_space(tmp_path, 1_500_000)
    with pytest.raises(UserError, match=r"2.0 MB are needed and 1.5 MB are free; free some space"):
        io.require_free_space(tmp_path, 2_000_000)


def test_an_unsupported_lock_is_not_reported_as_another_process(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(io.fcntl, "flock", flock)
    with pytest.raises(UserError, match=r".lock: No locks available"), io.workdir_lock(tmp_path):
        pass
