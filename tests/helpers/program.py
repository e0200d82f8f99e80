"""The program in processes of its own, on the embedded digits and small enough for a test."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

from rdd_jax.core.io import read_json_lines

ROOT = Path(__file__).parent.parent.parent
# 3 epochs of 5 steps with a checkpoint every 3: some fall into the middle of an epoch.
OPTIONS = {
    "epochs": 3,
    "batch_size": 256,
    "checkpoint_every_epochs": 0.6,
    "mining.epochs": 1,
    "teacher.name": "resnet8",
    "teacher.epochs": 1,
}
# What may differ between two runs that compute the same.
COSTS = {"seconds", "compile_seconds", "images_per_second", "embed_seconds", "mine_seconds"}
COSTS |= {"teacher_outputs_computed", "teacher_seconds", "drift_seconds", "data_seconds"}


def starter(folder, compiled=None):
    """Returns a function that starts the program in a folder; its runs share the teachers there.

    Args:
        folder: where the workdirs are.
        compiled: the folder of the compiled programs; by default one in `folder`.
    """
    # A shell's background jobs ignore SIGINT, and their children with them: these must hear it all the same.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(workdir, *arguments, devices=1, environment=None):
        environment = (
            os.environ
            | (environment or {})
            | {
                "PYTHONPATH": str(ROOT),
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                "JAX_COMPILATION_CACHE_DIR": str(compiled or folder / "compiled"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
        )
        options = [f"--config.{key}={value}" for key, value in OPTIONS.items()]
        line = [sys.executable, "-m", "rdd_jax.main", f"--config={ROOT / 'configs/rdd.py'}", f"--workdir={workdir}"]
        log = (folder / f"{workdir}.log").open("a")
        process = subprocess.Popen([*line, *options, *arguments], cwd=folder, env=environment, stdout=log, stderr=log)
        return process, folder / workdir

    start.folder = folder
    return start


def finish(process, workdir):
    assert process.wait(timeout=300) == 0, workdir.with_name(f"{workdir.name}.log").read_text()
    return workdir


def kill_at(step, process, workdir):
    """A checkpoint's folder gets its name when it is whole; what comes after it is lost with the process."""
    wait_for(step, process, workdir)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def wait_for(step, process, workdir):
    """Until there is that checkpoint."""
    deadline = time.monotonic() + 200
    while not (workdir / "checkpoints" / str(step)).exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, f"no checkpoint {step}"
        time.sleep(0.005)


def history(workdir):
    """The lines of metrics.jsonl without what they cost."""
    lines = read_json_lines(workdir / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in COSTS} for line in lines]


def final_arrays(workdir, step):
    """Every array of the last checkpoint, by name, as Orbax finds them on disk."""
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        folder = workdir / "checkpoints" / str(step)
        trees = [checkpointer.restore(folder / item) for item in ("student", "training")]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(trees)}


def assert_same_to_the_bit(workdir, other, step=15):
    assert history(workdir) == history(other)
    ours, theirs = final_arrays(workdir, step), final_arrays(other, step)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def assert_same_up_to_rounding(workdir, other):
    """Sums over devices are rounded in another order, by which a rectifier near 0 may switch.

    The gradient of its batch norm then jumps, all others' stay within 1e-7, and the loss was seen to change by 5e-5.
    Once a table is mined, after epoch 1, near ties of ranks may fall differently as well: 2e-3 was the most seen.
    """
    for ours, theirs in zip(history(workdir), history(other), strict=True):
        assert ours.keys() == theirs.keys()
        rtol = 5e-4 if theirs["epoch"] == 1 else 5e-3
        np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=rtol, err_msg=str(theirs))
