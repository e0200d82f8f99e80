"""The epochs before which the training set is mined."""

import pytest

from rdd_jax.steps.mining import MiningOptions
from rdd_jax.training.mining_schedule import MiningSchedule


def epochs_mined(drifts=None, **options):
    """The epochs, of 10, before which a run mines; `drifts` by epoch."""
    schedule = MiningSchedule(MiningOptions(**options))
    return [epoch for epoch in range(10) if schedule.due(epoch, (drifts or {}).get(epoch))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "once", "start_epoch": 0}, [0]),
        ({"kind": "once", "start_epoch": 2, "epochs": 3}, [2]),
        ({"kind": "every", "start_epoch": 1, "epochs": 4}, [1, 5, 9]),
        ({"kind": "every", "start_epoch": 12}, []),
    ],
)
def test_time_decides(options, expected):
    assert epochs_mined(**options) == expected


def test_the_largest_drift_decides_after_the_first_mining():
    drifts = {epoch: {"drift_pool": epoch / 10, "drift_confusion": 0.45} for epoch in range(3, 10)}
    assert epochs_mined(drifts, kind="adaptive", start_epoch=2, threshold=0.5) == [2, 5, 6, 7, 8, 9]
    assert epochs_mined(drifts, kind="adaptive", start_epoch=2, threshold=0.45) == list(range(2, 10))


def test_drift_is_measured_only_where_it_decides():
    adaptive = MiningSchedule(MiningOptions(kind="adaptive", start_epoch=2, probe=64))
    assert [adaptive.needs_drift(epoch) for epoch in range(5)] == [False, False, False, True, True]
    assert adaptive.num_probes == 64
    every = MiningSchedule(MiningOptions(kind="every", start_epoch=0, epochs=2, probe=64))
    assert not any(every.needs_drift(epoch) for epoch in range(5))
    assert every.num_probes == 0


def test_an_adaptive_schedule_needs_the_drift():
    with pytest.raises(ValueError, match="needs the drift before epoch 3"):
        MiningSchedule(MiningOptions(kind="adaptive", start_epoch=2)).due(3)
