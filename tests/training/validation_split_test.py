"""Validation images rank the epochs; the accuracy that is reported is that on the test images."""

from types import SimpleNamespace

import numpy as np
import pytest

from rdd_jax.steps.calibration import Reliability
from rdd_jax.steps.evaluation import Evaluation
from rdd_jax.training.epoch_recorder import EpochRecorder
from rdd_jax.training.metric_log import MetricLog

NAN = float("nan")
BINS = Reliability(*np.eye(3))


def best_accuracy(folder, **accuracies):
    with MetricLog(folder, 0) as log:
        for split, values in accuracies.items():
            for epoch, value in enumerate(values, start=1):
                log.write_scalars(epoch, epoch, split, {"accuracy": value})
        return log.best_accuracy()


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ({"test": [50.0, 70.0, 60.0]}, 70.0),
        ({"test": [50.0, 70.0, 60.0], "validation": [40.0, 45.0, 55.0]}, 60.0),
        ({"test": [NAN, 70.0, 60.0]}, 70.0),
        ({"test": [50.0, 70.0, 60.0], "validation": [NAN, 45.0, 30.0]}, 70.0),
    ],
)
def test_the_best_epoch_is_chosen_by_validation_and_its_test_accuracy_is_told(tmp_path, accuracies, best):
    assert best_accuracy(tmp_path, train=[99.0, 99.0, 99.0], **accuracies) == best


@pytest.mark.parametrize(("validation", "ranking"), [("held out", 60.0), (None, 80.0)])
def test_validation_accuracy_is_written_down_and_ranks_the_checkpoint(validation, ranking):
    written, accuracies = [], {"held out": 60.0, "test": 80.0}
    run = SimpleNamespace(
        _experiment=SimpleNamespace(validation=validation, test="test"),
        _evaluate=lambda student, dataset, on_batch: Evaluation({"accuracy": accuracies[dataset], "nll": 0.5}, BINS),
        _log=SimpleNamespace(write_reliability=lambda step, epoch, bins: written.append("bins")),
        _write=lambda step, epoch, split, metrics: written.append(split),
        _config=SimpleNamespace(eval_every_epochs=1, epochs=2),
        _runner=SimpleNamespace(on_batch=lambda activity: None),
    )
    assert EpochRecorder.record_evaluation(run, SimpleNamespace(student=None, average=None), 1, 10) == ranking
    assert written == [*(["validation"] if validation else []), "bins", "test"]
