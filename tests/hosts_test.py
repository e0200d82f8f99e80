"""Several processes on this machine, as on several: one run, the same as with one process."""

import random
import signal

import pytest
from program import assert_same_up_to_rounding, finish, wait_for

from rdd_jax import hosts
from rdd_jax.errors import UserError


def slurm(process):
    """What srun tells one of four tasks; jax makes its port of the number of the job."""
    job = {"SLURM_JOB_ID": str(JOB), "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1"}
    counts = {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
    return job | counts | {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}


JOB = random.SystemRandom().randrange(2**12)


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_processes_stop_together_go_on_with_others_and_train_the_same_student(start, straight, loading):
    """Two of two devices until one of them is asked to stop, then four of one."""
    data, place = f"--config.data.loading={loading}", [f"--coordinator=localhost:{61440 - 1 - JOB}", "--processes=2"]
    first, second = (start(loading, data, *place, f"--process={process}", devices=2) for process in range(2))
    wait_for(6, *first)
    second[0].send_signal(signal.SIGTERM)
    for process, workdir in (first, second):
        finish(process, workdir)
    log = workdir.with_name(f"{loading}.log").read_text()
    assert log.count("which are saved; the same command goes on") == 1
    assert not (workdir / "summary.json").exists()
    for process, workdir in [start(loading, data, environment=slurm(process)) for process in range(4)]:
        finish(process, workdir)
    assert_same_up_to_rounding(workdir, straight)


def test_a_place_that_is_none_is_refused():
    for place in (hosts.Place("localhost:1"), hosts.Place("localhost:1", 2, 2), hosts.Place("", 2, 0)):
        with pytest.raises(UserError, match="several processes need --coordinator"):
            hosts.join(place)


def test_one_process_needs_no_others(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    hosts.join(hosts.Place())
    assert hosts.is_first()
    assert (hosts.any_of(True), hosts.any_of(False)) == (True, False)
    assert hosts.from_first({"a": 3}) == {"a": 3}
