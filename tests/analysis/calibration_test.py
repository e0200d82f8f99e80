"""The expected calibration error of logits."""

import jax
import numpy as np
import pytest
from golden import GOLDENS

from rdd_jax.analysis import calibration


def test_the_error_is_that_of_torchmetrics():
    golden = np.load(GOLDENS / "calibration.npz")
    error = calibration.expected_calibration_error(golden["logits"], golden["labels"])
    np.testing.assert_allclose(error, golden["ece15"], rtol=1e-5)
    compiled = jax.jit(calibration.expected_calibration_error)(golden["logits"], golden["labels"])
    np.testing.assert_allclose(compiled, error, rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "bins", "message"),
    [
        ((4, 3, 2), 4, 15, r"\[n,classes\] .* got \(4, 3, 2\) and \(4,\)"),
        ((4, 3), 5, 15, r"got \(4, 3\) and \(5,\)"),
        ((0, 3), 0, 15, "n > 0"),
        ((4, 3), 4, 0, "at least one bin, got 0"),
    ],
)
def test_other_shapes_are_refused(logits, labels, bins, message):
    with pytest.raises(ValueError, match=message):
        calibration.expected_calibration_error(np.zeros(logits), np.zeros(labels, int), bins)
