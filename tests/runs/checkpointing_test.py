"""Which checkpoints are kept, and what happens to a damaged one."""

import resource
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clu.metrics import Average

from rdd_jax.core import devices
from rdd_jax.core.errors import UserError
from rdd_jax.runs.checkpointing import Checkpoints, latest_step, restore_student
from rdd_jax.steps.train_state import TrainState


def state_at(step):
    """A state whose every array tells its step."""
    return devices.replicate(
        TrainState(
            step=jnp.int32(step),
            seed=jnp.int32(0),
            student={"params": {"kernel": jnp.full((3, 2), float(step))}},
            distiller_params={},
            distiller_state={"bank": jnp.full((4,), -float(step))},
            optimizer=(jnp.full((3, 2), 2.0 * step),),
            metrics={"loss": Average(jnp.float32(step), jnp.int32(1))},
        )
    )


def shapes():
    return jax.eval_shape(lambda: state_at(0))


def save(workdir, accuracies, **options):
    with Checkpoints(workdir, **options) as checkpoints:
        for step, accuracy in enumerate(accuracies, start=1):
            checkpoints.save(step, state_at(step), accuracy)


def kept(workdir):
    return sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("accuracies", "steps"),
    [
        ([50.0, 90.0, 60.0, 70.0, 80.0], [2, 4, 5]),
        ([90.0, float("nan"), float("nan"), float("nan")], [1, 3, 4]),
        ([90.0, None, 80.0, None], [1, 3, 4]),
        ([50.0, 60.0, 70.0], [2, 3]),
    ],
)
def test_the_two_latest_and_the_most_accurate_are_kept(tmp_path, accuracies, steps):
    save(tmp_path, accuracies)
    assert kept(tmp_path) == steps


def test_all_are_kept_where_that_is_asked_for_and_any_of_them_comes_back(tmp_path):
    save(tmp_path, [90.0, 50.0, None, 60.0, 70.0], keep_all=True)
    with Checkpoints(tmp_path, keep_all=True) as checkpoints:
        assert checkpoints.steps() == [1, 2, 3, 4, 5]
        assert int(checkpoints.restore(shapes(), 2).step) == 2
    assert kept(tmp_path) == [1, 2, 3, 4, 5]


def test_what_was_saved_last_comes_back_whole(tmp_path):
    save(tmp_path, [50.0, 60.0, 40.0])
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(shapes())
    expected = state_at(3)
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    student = restore_student(tmp_path, shapes().student)
    jax.tree.map(np.testing.assert_array_equal, student, expected.student)


def test_of_a_state_with_an_average_other_runs_load_the_average(tmp_path):
    average = {"params": {"kernel": jnp.full((3, 2), 0.5)}}
    state = state_at(3)._replace(average=devices.replicate(average))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state, 60.0)
        restored = checkpoints.restore(jax.eval_shape(lambda: state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    jax.tree.map(np.testing.assert_array_equal, restore_student(tmp_path, shapes().student), average)


def test_without_an_average_a_checkpoint_does_not_name_it(tmp_path):
    save(tmp_path, [50.0])
    assert "average" not in (tmp_path / "checkpoints" / "1" / "training" / "_METADATA").read_text()


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(shapes()) is None
    with pytest.raises(UserError, match="there is no checkpoint"):
        latest_step(tmp_path)


def damage(workdir, step):
    for path in (workdir / "checkpoints" / str(step) / "training").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Orbax leaves the other reads under way when one has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_named_and_kept_and_the_one_before_taken(tmp_path, capsys):
    save(tmp_path, [70.0, 50.0, 60.0])
    for count in range(2):
        damage(tmp_path, 3)
        with Checkpoints(tmp_path) as checkpoints:
            assert int(checkpoints.restore(shapes()).step) == 2
            assert "checkpoints/3 is damaged" in capsys.readouterr().err
            checkpoints.save(3, state_at(3), 60.0)
        with Checkpoints(tmp_path) as checkpoints:
            assert int(checkpoints.restore(shapes()).step) == 3
        assert [(tmp_path / "checkpoints" / f"damaged-3-{number}").is_dir() for number in (count, count + 1)] == [
            True,
            False,
        ]


def test_where_all_are_damaged_nothing_is_moved_and_the_mend_is_told(tmp_path):
    save(tmp_path, [50.0, 60.0])
    damage(tmp_path, 1), damage(tmp_path, 2)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(UserError, match=r"checkpoints/2 is damaged.*to begin again"),
    ):
        checkpoints.restore(shapes())
    assert kept(tmp_path) == [1, 2]


def change(path, how):
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif content:
        content[len(content) // 2] ^= 4
        path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.stress
# Orbax leaves the other reads under way when one has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["removed", "cut", "flipped"])
def test_whatever_file_is_damaged_the_state_is_the_one_that_was_saved_or_the_one_before(tmp_path, how):
    whole = tmp_path / "whole"
    save(whole, [50.0, 60.0])
    damageable = [path.relative_to(whole) for path in (whole / "checkpoints" / "2").rglob("*") if path.is_file()]
    assert len(damageable) > 20
    fallen_back = set()
    for number, name in enumerate(damageable):
        workdir = tmp_path / str(number)
        shutil.copytree(whole, workdir)
        change(workdir / name, how)
        with Checkpoints(workdir) as checkpoints:
            state = checkpoints.restore(shapes())
            jax.tree.map(np.testing.assert_array_equal, state, state_at(int(state.step)))
            checkpoints.save(3, state_at(3), 70.0)
        with Checkpoints(workdir) as checkpoints:
            assert int(checkpoints.restore(shapes()).step) == 3
        if int(state.step) == 1:
            fallen_back.add(name.parts[2])
    assert {"student", "training"} <= fallen_back <= {"student", "training", "checksums"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_write_that_fails_is_told_before_the_next_and_the_one_before_is_whole(tmp_path):
    """No file may grow beyond 64 KB, which to a program is as a full disk, and the bank cannot be compressed."""
    bank = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8)
    large = state_at(2)._replace(distiller_state={"bank": devices.replicate(bank)})
    save(tmp_path, [50.0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
        try:
            checkpoints.save(2, large, 60.0)
            with pytest.raises(UserError, match=r"cannot be written.*make room"):
                checkpoints.save(3, state_at(3), 70.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(shapes()).step) == 1
        checkpoints.save(2, state_at(2), 60.0)
    assert kept(tmp_path) == [1, 2]


def test_where_there_is_no_room_no_write_is_begun(tmp_path, monkeypatch):
    save(tmp_path, [50.0])
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
        for write in (lambda: checkpoints.require_room(shapes()), lambda: checkpoints.save(2, state_at(2), 60.0)):
            with pytest.raises(UserError, match=r"checkpoints: 1.0 MB are needed and 1.0 MB are free"):
                write()
    assert kept(tmp_path) == [1]


def test_an_error_of_our_own_is_not_told_as_one_of_the_disk(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints, "_manager", object())
        with pytest.raises(AttributeError):
            checkpoints.save(1, state_at(1), 50.0)
        monkeypatch.undo()


@pytest.mark.parametrize("content", [None, "a file"])
def test_what_is_no_checkpoint_is_passed_over(tmp_path, content):
    save(tmp_path, [50.0, 60.0])
    place = tmp_path / "checkpoints" / "3"
    place.mkdir() if content is None else place.write_text(content)
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(shapes()).step) == 2


def test_another_network_is_refused(tmp_path):
    save(tmp_path, [50.0])
    wider = {"params": {"kernel": jax.ShapeDtypeStruct((3, 5), jnp.float32)}}
    with pytest.raises(UserError, match="damaged or of another network"):
        restore_student(tmp_path, wider)
