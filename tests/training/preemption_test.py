"""How a run ends before its last epoch: by a signal, a loss that is not finite, a full disk; and how it goes on."""

import resource
import signal
import time

import jax.numpy as jnp
import numpy as np
import pytest
from program import OPTIONS, ROOT, assert_same_to_the_bit, finish, history, wait_for

from rdd_jax.cli import command_line
from rdd_jax.core.errors import UserError
from rdd_jax.training import setup
from rdd_jax.training.preemption import StopSignal
from rdd_jax.training.run import train


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.stress)])
def test_asked_to_stop_it_saves_says_how_to_go_on_and_loses_nothing(start, straight, number):
    process, workdir = start(number.name)
    wait_for(3, process, workdir)
    process.send_signal(number)
    finish(process, workdir)
    last = workdir.with_name(f"{number.name}.log").read_text().splitlines()[-1]
    saved = max(int(folder.name) for folder in (workdir / "checkpoints").iterdir())
    assert last == (
        f"rdd_jax: {number.name}: stopped after {saved} of 15 updates, which are saved; run the same command again to "
        "resume"
    )
    assert not (workdir / "summary.json").exists()
    assert_same_to_the_bit(finish(*start(number.name)), straight)


@pytest.mark.stress
def test_asked_to_stop_while_it_compiles_it_stops_after_the_first_call(start):
    process, workdir = start("compiling", "--config.student.name=resnet14")  # which nothing has compiled yet
    deadline = time.monotonic() + 200
    while not (workdir / "config.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(2)  # Well into the compilation, which takes longer.
    process.send_signal(signal.SIGINT)
    finish(process, workdir)
    assert "stopped after 1 of 15 updates" in workdir.with_name("compiling.log").read_text().splitlines()[-1]


def test_the_second_signal_does_what_it_always_did():
    with StopSignal() as stop_signal:
        signal.raise_signal(signal.SIGINT)
        assert stop_signal.signal_name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.stress
def test_on_a_full_disk_it_ends_with_a_line_and_goes_on_when_there_is_room(start, straight):
    """No file may grow beyond 100 KB, which to a program is as a full disk; a checkpoint is larger."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        process, workdir = start("full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert process.wait(timeout=300) == 2
    last = workdir.with_name("full.log").read_text().splitlines()[-1]
    assert "cannot be written" in last
    assert "free some space" in last or "make room" in last
    assert_same_to_the_bit(finish(*start("full")), straight)


@pytest.fixture
def poisoned(monkeypatch, straight):
    """Runs in this process, where the learning rate is infinite in some updates (from 0) of the 15."""
    monkeypatch.chdir(straight.parent)
    made = setup.stepped_schedule

    def run(workdir, is_poison, **settings):
        def schedule(*arguments, **options):
            rate = made(*arguments, **options)
            return lambda step: jnp.where(is_poison(step), jnp.inf, rate(step))

        monkeypatch.setattr(setup, "stepped_schedule", schedule)
        options = [f"--config.{key}={value}" for key, value in (OPTIONS | settings).items()]
        config = command_line.configuration([f"--config={ROOT / 'configs/kd.py'}", *options])
        return train(config, straight.parent / workdir)

    return run


def epochs_of(workdir):
    return [line for line in history(workdir) if line["split"] == "train"]


@pytest.mark.stress
def test_an_update_that_would_poison_the_state_can_be_skipped(poisoned, straight):
    summary = poisoned("skipped", lambda step: (step == 5) | (step == 7), nonfinite="skip")
    assert np.isfinite(summary["student"]["accuracy"])
    lines = epochs_of(straight.parent / "skipped")
    assert [line["skipped_percent"] for line in lines] == [0.0, 40.0, 0.0]
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))


@pytest.mark.stress
def test_a_run_can_roll_back_to_its_last_good_weights_and_go_on(poisoned, straight, capsys):
    summary = poisoned("rolled", lambda step: step == 7, nonfinite="rollback")
    assert "with the weights of update 6" in capsys.readouterr().err
    assert (summary["steps"], bool(np.isfinite(summary["student"]["accuracy"]))) == (15, True)
    assert [line["step"] for line in epochs_of(straight.parent / "rolled")] == [5, 10, 15]


@pytest.mark.slow
@pytest.mark.stress
def test_where_nothing_helps_the_run_ends(poisoned):
    with pytest.raises(UserError, match=r"again not finite by update 1\d"):
        poisoned("hopeless", lambda step: step >= 7, nonfinite="rollback")
    with pytest.raises(UserError, match=r"not finite by update 10, and the last good checkpoint is of update \d"):
        poisoned("all_skipped", lambda step: step >= 5, nonfinite="skip")
