"""Which checkpoints are kept, and what happens to a damaged one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clu.metrics import Average

from rdd_jax import parallel
from rdd_jax.checkpoint import Checkpoints, latest_step, restore_student
from rdd_jax.errors import UserError
from rdd_jax.train_state import TrainState


def state_at(step):
    """A state whose every array tells its step."""
    return parallel.replicate(
        TrainState(
            step=jnp.int32(step),
            seed=jnp.int32(0),
            student={"params": {"kernel": jnp.full((3, 2), float(step))}},
            heads={},
            distiller={"bank": jnp.full((4,), -float(step))},
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


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(shapes()) is None
    with pytest.raises(UserError, match="there is no checkpoint"):
        latest_step(tmp_path)


@pytest.mark.parametrize("item", ["student", "training"])
def test_a_damaged_checkpoint_is_named_with_the_mend(tmp_path, item):
    save(tmp_path, [50.0, 60.0])
    for path in (tmp_path / "checkpoints" / "2" / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"checkpoints/2 is damaged.*delete it"):
        checkpoints.restore(shapes())


def test_another_network_is_refused(tmp_path):
    save(tmp_path, [50.0])
    wider = {"params": {"kernel": jax.ShapeDtypeStruct((3, 5), jnp.float32)}}
    with pytest.raises(UserError, match="damaged or of another network"):
        restore_student(tmp_path, wider)
