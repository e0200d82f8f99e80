"""Bins of confidence, and the area under the risk-coverage curve."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rdd_jax.steps import calibration


def bins_of(confidences, correct, bins=4):
    counted = np.ones(len(confidences), bool)
    return calibration.reliability(jnp.float32(confidences), np.array(correct, bool), counted, bins)


def test_a_bin_has_its_upper_bound_and_not_its_lower():
    found = bins_of([0.0, 0.25, 0.26, 0.5, 1.0, 1.0], [0, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(found.counts, [2, 2, 0, 2])
    np.testing.assert_array_equal(found.correct, [1, 1, 0, 1])
    np.testing.assert_allclose(found.confidences, [0.25, 0.76, 0, 2])


def test_rows_that_fill_up_a_batch_are_not_counted():
    whole = calibration.reliability(*map(np.array, ([0.3, 0.9, np.nan], [True, True, True], [True, True, False])), 4)
    np.testing.assert_array_equal(whole, bins_of([0.3, 0.9], [1, 1]))


def test_accuracies_equal_to_the_confidences_have_no_error():
    confidences = np.repeat([0.25, 0.5, 0.75], 8)
    correct = np.tile(np.arange(8), 3) < 8 * confidences
    assert calibration.calibration_error(bins_of(confidences, correct, bins=15)) == 0
    assert calibration.calibration_error(bins_of(confidences, ~correct, bins=15)) == pytest.approx(1 / 3)


def test_the_file_has_means_and_no_value_for_empty_bins():
    content = calibration.as_json(bins_of([0.5, 0.5, 1.0], [1, 0, 1]))
    assert json.loads(json.dumps(content)) == content
    assert content == {
        "counts": [0, 2, 0, 1],
        "confidences": [None, 0.5, None, 1.0],
        "accuracies": [None, 0.5, None, 1.0],
    }


def test_area_under_risk_coverage_by_hand():
    """The risks at the thresholds 0.9, 0.8, 0.7 and 0.6 are 0, 1/2, 1/3 and 2/4."""
    confidences, correct = np.array([0.6, 0.9, 0.7, 0.8]), np.array([False, True, True, False])
    area = calibration.area_under_risk_coverage(confidences, correct)
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_area_does_not_depend_on_the_order_of_equal_confidences():
    confidences, correct = np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, False, True, False])
    orders = ([0, 1, 2, 3], [1, 2, 0, 3])
    areas = [calibration.area_under_risk_coverage(confidences, correct[order]) for order in orders]
    assert areas == [pytest.approx((3 * 1 / 3 + 2 / 4) / 4)] * 2
