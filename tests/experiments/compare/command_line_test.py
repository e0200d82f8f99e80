"""The flags of a comparison, and a small grid on the digits that is killed and resumed."""

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


def start(folder, *arguments):
    """Starts the comparison in a process, in that folder."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "TFDS_DATA_DIR": str(folder / "nowhere"),  # A linear probe on MNIST would take time.
    }
    command = [sys.executable, "-m", "experiments.compare", *LINE, *arguments]
    log = (folder / "log").open("w")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def finish_times(runs):
    """When each run's summary was written, without the teacher's."""
    return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*-digits-seed?/summary.json")}


@pytest.mark.slow
@pytest.mark.stress
def test_a_killed_grid_resumes_and_trains_no_run_twice(tmp_path):
    """Two processes with every second run each, so that one has ce and the other kd."""
    runs = tmp_path / "out" / "runs"
    process = start(tmp_path, "--shard=1/2")
    deadline = time.monotonic() + 300
    while not list(runs.glob("ce-digits-seed1/checkpoints/[0-9]*")):
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finish_times(runs)
    assert set(before) == {"ce-digits-seed0"}
    assert (runs / "teacher-digits-resnet8-seed0" / "summary.json").exists()
    for shard in ("--shard=1/2", "--shard=2/2"):
        assert start(tmp_path, shard).wait(timeout=400) == 0, (tmp_path / "log").read_text()
    after = finish_times(runs)
    assert sorted(after) == RUNS
    assert after["ce-digits-seed0"] == before["ce-digits-seed0"]

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(run["label"], run["seed"], run["epochs"]) for run in results["runs"]] == [
        (label, seed, [1, 2]) for seed in (0, 1) for label in ("ce", "kd")
    ]
    assert (results["labels"], results["baseline"], results["seeds"]) == (["ce", "kd"], "ce", [0, 1])
    assert all(run["student_metrics"]["mutual_knn"] > 0 for run in results["runs"])
    assert len({run["summary"]["teacher"]["fingerprint"] for run in results["runs"]}) == 1
    for name in ("report.html", "report.md", "accuracies.png"):
        assert (tmp_path / "out" / name).stat().st_size > 100


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--baseline=rkd", "--baseline is one of ce, kd"),
        ("--methods=ce,dk", "unknown configuration"),
        ("--curves=none.csv", "none.csv"),
        ("--confg.epochs=2", "--config.KEY=VALUE"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, flag, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare", *LINE, flag])
    flags = command_line.parser("")
    flags.add_argument("--methods", type=lambda text: text.split(","))
    code = command_line.main(lambda arguments: grid.product(arguments.methods, {}), flags, "experiments.compare")
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--shard=0/2", "--shard=3/2", "--shard=2", "--seeds=0", "--seeds=x"])
def test_invalid_numbers_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        command_line.parser("").parse_args([flag])
    assert flag.partition("=")[2] in capsys.readouterr().err


def test_values_of_an_axis_may_be_tuples():
    assert program._axis("milestones=(0.5,0.75),(0.6,)") == ("milestones", ["(0.5,0.75)", "(0.6,)"])


def test_the_command_in_the_report_is_that_of_the_whole_grid(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(command_line, "compare", lambda rows, arguments, overrides, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["ablate", "--seeds=2", "--shard=2/2", "--config.epochs=3"])
    assert command_line.main(lambda _: [], command_line.parser(""), "experiments.ablate") == 0
    assert commands == ["python -m experiments.ablate --seeds=2 --config.epochs=3"]
