"""A small grid on the embedded digits: stopped, gone on with, split over processes, reported."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from program import ROOT

from experiments.compare import __main__ as program
from experiments.compare import command_line, grid

LINE = ["--preset=digits", "--methods=ce,kd", "--seeds=2", "--out=out"]
LINE += ["--config.epochs=2", "--config.batch_size=256", "--config.checkpoint_every_epochs=0.4"]
LINE += ["--config.teacher.name=resnet8", "--config.teacher.epochs=1"]
RUNS = ["ce-digits-seed0", "ce-digits-seed1", "kd-digits-seed0", "kd-digits-seed1"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the comparison in a folder that the tests of this file share."""
    folder = tmp_path_factory.mktemp("compare")

    def start(*arguments):
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": "",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "TFDS_DATA_DIR": str(folder / "nowhere"),  # What MNIST would add takes time.
        }
        command = [sys.executable, "-m", "experiments.compare", *LINE, *arguments]
        log = (folder / "log").open("w")
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    start.folder = folder
    return start


def finish(start, process):
    assert process.wait(timeout=400) == 0, (start.folder / "log").read_text()


def written(folder):
    """When each run's summary was written, except the teacher's."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*-digits-seed?/summary.json")}


@pytest.mark.slow
@pytest.mark.stress
def test_a_grid_killed_in_its_middle_goes_on_and_no_run_is_run_twice(start):
    """Two processes with every second run each: ce and kd, as there are two methods."""
    runs = start.folder / "out" / "runs"
    process = start("--shard=1/2")
    deadline = time.monotonic() + 300
    while not list(runs.glob("ce-digits-seed1/checkpoints/[0-9]*")):
        assert process.poll() is None, (start.folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = written(runs)
    assert set(before) == {"ce-digits-seed0"}
    assert (runs / "teacher-digits-resnet8-seed0" / "summary.json").exists()
    for shard in ("--shard=1/2", "--shard=2/2"):
        finish(start, start(shard))
    after = written(runs)
    assert sorted(after) == RUNS
    assert after["ce-digits-seed0"] == before["ce-digits-seed0"]

    results = json.loads((start.folder / "out" / "results.json").read_text())
    assert [(run["label"], run["seed"], run["epochs"]) for run in results["runs"]] == [
        (label, seed, [1, 2]) for seed in (0, 1) for label in ("ce", "kd")
    ]
    assert (results["labels"], results["baseline"], results["seeds"]) == (["ce", "kd"], "ce", [0, 1])
    assert all(run["measures"]["neighbors_shared"] > 0 for run in results["runs"])
    assert len({run["summary"]["teacher"]["fingerprint"] for run in results["runs"]}) == 1
    for name in ("report.html", "report.md", "figures/curves.png"):
        assert (start.folder / "out" / name).stat().st_size > 100


def test_the_flags_say_what_is_wrong_with_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line, message in [
        (["--baseline=rkd"], "--baseline is one of ce, kd"),
        (["--methods=ce,dk"], "unknown configuration"),
        (["--curves=none.csv"], "none.csv"),
        (["--confg.epochs=2"], "--config.KEY=VALUE"),
    ]:
        monkeypatch.setattr(sys, "argv", ["compare", *LINE, *line])
        made = command_line.parser("")
        made.add_argument("--methods", type=lambda text: text.split(","))
        code = command_line.main(lambda arguments: grid.product(arguments.methods, {}), made, "experiments.compare")
        assert code == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_commas_inside_of_a_tuple_are_its_own():
    assert program._axis("milestones=(0.5,0.75),(0.6,)") == ("milestones", ["(0.5,0.75)", "(0.6,)"])


def test_the_command_of_a_report_is_that_of_the_whole_grid(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(command_line, "compare", lambda rows, arguments, overrides, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["ablate", "--seeds=2", "--shard=2/2", "--config.epochs=3"])
    assert command_line.main(lambda _: [], command_line.parser(""), "experiments.ablate") == 0
    assert commands == ["python -m experiments.ablate --seeds=2 --config.epochs=3"]


@pytest.mark.parametrize("flag", ["--shard=0/2", "--shard=3/2", "--shard=2", "--seeds=0", "--seeds=x"])
def test_numbers_that_make_no_sense_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        command_line.parser("").parse_args([flag])
    assert flag.partition("=")[2] in capsys.readouterr().err
