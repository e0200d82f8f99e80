"""Several processes on this machine, as on several: one run, the same as with one process."""

import os
import random
import signal
import threading
import time

import jax
import pytest
from program import assert_same_up_to_rounding, finish, wait_for

from rdd_jax.core import processes
from rdd_jax.core.errors import UserError


def slurm(process):
    """Returns the environment that srun gives to one of four tasks; JAX derives its port from the job id."""
    job = {"SLURM_JOB_ID": str(JOB), "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1"}
    counts = {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
    return job | counts | {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}


JOB = random.SystemRandom().randrange(2**12)


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_processes_stop_together_resume_in_another_number_and_train_the_same_student(start, straight, loading):
    """Two of two devices until one of them is asked to stop, then four of one."""
    data, place = f"--config.data.loading={loading}", [f"--coordinator=localhost:{61440 - 1 - JOB}", "--processes=2"]
    first, second = (start(loading, data, *place, f"--process={process}", devices=2) for process in range(2))
    wait_for(6, *first)
    second[0].send_signal(signal.SIGTERM)
    for process, workdir in (first, second):
        finish(process, workdir)
    log = workdir.with_name(f"{loading}.log").read_text()
    assert log.count("which are saved; run the same command again to resume") == 1
    assert not (workdir / "summary.json").exists()
    for process, workdir in [start(loading, data, environment=slurm(process)) for process in range(4)]:
        finish(process, workdir)
    assert_same_up_to_rounding(workdir, straight)


def test_impossible_process_specifications_are_refused():
    places = [("localhost:1", 0, -1), ("localhost:1", 2, 2), ("", 2, 0)]
    places += [(coordinator, 2, 0) for coordinator in ("localhost", ":23456", "localhost:", "localhost:70000")]
    for place in places:
        with pytest.raises(UserError, match="several processes need --coordinator"):
            processes.initialize(processes.ProcessSpec(*place))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("localhost:9", 3, 0), "not all of the processes 1 to 2 connected to localhost:9 within 0.05 seconds"),
        (("localhost:9", 3, 1), "process 0 at localhost:9 does not answer within 0.05 seconds"),
    ],
)
def test_a_process_whose_peers_do_not_connect_ends_with_one_line(monkeypatch, capfd, place, words):
    ended, codes = threading.Event(), []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: ended.wait(60))
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), ended.set()))
    processes.initialize(processes.ProcessSpec(*place), seconds=0.05)
    assert codes == [2]
    (line,) = capfd.readouterr().err.splitlines()
    assert words in line
    assert "--join_seconds" in line


def test_processes_that_connect_in_time_continue(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    processes.initialize(processes.ProcessSpec("localhost:9", 2, 0), seconds=0.05)
    time.sleep(0.2)
    assert codes == []


def test_one_process_runs_without_a_coordinator(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    processes.initialize(processes.ProcessSpec())
    assert processes.is_main_process()
    assert (processes.any_process(True), processes.any_process(False)) == (True, False)
    assert processes.broadcast_from_main({"a": 3}) == {"a": 3}
