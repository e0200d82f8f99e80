"""Drift: how much a mined table would change."""

import jax
import numpy as np
import pytest

from rdd_jax.rdx import drift

PROBES = 64
before, now, teacher = np.random.default_rng(0).normal(size=(3, PROBES, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def measure():
    return drift.make_drift_measure(PROBES)  # with pools of 4


def test_unchanged_relations_have_no_drift(measure):
    assert measure(before, before, teacher) == {"drift_pool": 0.0, "drift_confusion": 0.0}
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0].astype(np.float32)
    moved = measure(before, 3 * before @ rotation + 1, teacher)
    assert moved["drift_pool"] < 0.05  # Rounding changes places of near neighbours.
    assert moved["drift_confusion"] < 0.05


def test_unrelated_embeddings_share_negatives_only_by_chance(measure):
    assert 1 - 4 * 4 / 63 < measure(before, now, teacher)["drift_pool"] <= 1


def test_drift_grows_with_the_distance(measure):
    steps = [float(measure(before, before + share * now, teacher)["drift_pool"]) for share in (0.01, 0.1, 1.0)]
    assert steps == sorted(steps)
    assert steps[0] < 0.2 < steps[2]


def test_confusion_drifts_fully_if_the_student_becomes_the_teacher(measure):
    moved = measure(before, teacher, teacher)
    assert moved["drift_confusion"] == 1.0  # All of it lies at 2 now, and lay above.
    assert jax.numpy.isfinite(moved["drift_pool"])


def test_probe_indices_are_evenly_spaced():
    positions = np.asarray(drift.probe_indices(1437, 100))
    assert positions[0] == 0
    assert positions[-1] == 1436
    assert set(np.diff(positions)) <= {14, 15}
