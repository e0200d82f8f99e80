"""The program's first moments, its streams and its exit codes."""

import os
import subprocess
import sys

import pytest
from program import ROOT

from rdd_jax.cli import exit_codes


def run(code, redirection=""):
    """Runs Python code that has nothing to import but the standard library and `startup`."""
    line = f"'{sys.executable}' -c 'import os, signal, sys; from rdd_jax.cli import startup; {code}' {redirection}"
    return subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_an_interruption_while_jax_is_imported_is_one_line():
    setting = "signal.signal(signal.SIGINT, signal.default_int_handler); "
    done = run(f"{setting}startup.catch_early_interrupts(); os.kill(os.getpid(), signal.SIGINT)")
    assert done.returncode == exit_codes.INTERRUPTED
    assert done.stderr == "rdd_jax: interrupted before anything was done\n"
    done = run(
        f"{setting}startup.catch_early_interrupts(); startup.restore_interrupts(); os.kill(os.getpid(), signal.SIGINT)"
    )
    assert "KeyboardInterrupt" in done.stderr


def test_what_is_printed_to_closed_streams_does_not_go_into_files(tmp_path):
    path = tmp_path / "file"
    prints = 'print("x", file=sys.stderr); os.write(2, b"y"); print("z")'
    work = f'startup.catch_early_interrupts(); file = open("{path}", "w"); {prints}'
    done = run(work, ">&- 2>&-")
    assert done.returncode == 0
    assert path.read_text() == ""


def test_a_reader_of_stdout_that_has_gone_ends_the_program_quietly(monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", os.fdopen(writer, "w"))
        assert exit_codes.exit_code(lambda: print("unread") or 0) == exit_codes.CLOSED_PIPE
    assert capfd.readouterr() == ("", "")


def test_another_pipe_that_breaks_is_no_reader_of_stdout():
    def work():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        exit_codes.exit_code(work)
