"""The steps after which a run is saved."""

import math

import pytest

from rdd_jax.training.checkpoint_schedule import CheckpointSchedule


@pytest.mark.parametrize(
    ("every_epochs", "starts", "expected"),
    [
        (1.0, [0, 5, 10, 15], [5, 10, 15]),
        (0.6, [0, 5, 10, 15], [3, 6, 9, 12, 15]),
        (2.0, [0, 5, 10, 15], [10]),
        (0.01, [0, 2, 4], [1, 2, 3, 4]),
        (0.5, [0, 2, 8], [1, 2, 5, 8]),
    ],
)
def test_so_many_epochs_lie_between_two_checkpoints(every_epochs, starts, expected):
    schedule = CheckpointSchedule(every_epochs, starts)
    assert [step for step in range(1, starts[-1] + 1) if step in schedule] == expected
    assert schedule.next_after(0) == expected[0]
    assert schedule.next_after(expected[-1]) == math.inf
