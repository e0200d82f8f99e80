"""SRD and ITRD against their formulas in NumPy, and what the formulas promise."""

import numpy as np
import pytest
from golden import normal

from rdd_jax.losses import projected

STUDENT, TEACHER = normal(0, 6, 4), normal(1, 6, 4)


def test_srd_is_the_formula():
    """Batch norm has the biased variance, and 1e-4 beside it."""
    student, teacher = (x.astype(np.float64) for x in (STUDENT, TEACHER))
    student, teacher = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-4) for x in (student, teacher))
    for exponent in (1.0, 4.0):
        expected = np.log((np.abs(student - teacher) ** exponent).sum())
        np.testing.assert_allclose(projected.log_distance(STUDENT, TEACHER, exponent), expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [1.01, 1.5])
def test_the_correlations_of_itrd_are_the_formula(alpha):
    student, teacher = (x.astype(np.float64) for x in (STUDENT, TEACHER))
    student, teacher = ((x - x.mean(0)) / x.std(0, ddof=1) for x in (student, teacher))
    correlations = (student * teacher).sum(0) / len(student)
    expected = np.log2((np.abs(correlations - 1) ** (2 * alpha)).sum())
    np.testing.assert_allclose(projected.log_decorrelation(STUDENT, TEACHER, alpha), expected, rtol=1e-6)


def test_the_mutual_information_of_itrd_is_the_formula():
    student, teacher = (x.astype(np.float64) for x in (STUDENT, normal(1, 6, 9)))
    student, teacher = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (student, teacher))
    gram = student @ student.T
    both = gram * (teacher @ teacher.T)
    expected = ((gram / np.trace(gram)) ** 2 - (both / np.trace(both)) ** 2).sum()
    np.testing.assert_allclose(projected.mutual_information(STUDENT, normal(1, 6, 9)), expected, rtol=1e-6)


def test_scale_and_shift_of_features_do_not_matter():
    student, teacher = (x * [2, 5, 3, 8] + [1, 0, -2, 3] for x in (STUDENT, TEACHER))
    for loss in (projected.log_decorrelation, projected.log_distance):
        value = loss(STUDENT, TEACHER, 2.0)
        # 1e-4: SRD's constant beside the variance.
        np.testing.assert_allclose(loss(student, TEACHER, 2.0), value, rtol=1e-4)
        np.testing.assert_allclose(loss(STUDENT, teacher, 2.0), value, rtol=1e-4)


def test_equal_embeddings_have_the_least_losses():
    """That of SRD is the logarithm of the constant in it; in ITRD a correlation of 1 is short of 1 by 1 / b."""
    np.testing.assert_allclose(projected.log_distance(STUDENT, STUDENT, 4.0), np.log(1e-8), rtol=1e-6)
    least = np.log2(4 * (1 / 6) ** 3)
    np.testing.assert_allclose(projected.log_decorrelation(STUDENT, STUDENT, 1.5), least, rtol=1e-5)
    assert projected.log_decorrelation(STUDENT, TEACHER, 1.5) > least


def test_a_feature_that_does_not_vary_is_uncorrelated():
    dead = TEACHER * [1, 1, 1, 0]
    three = projected.log_decorrelation(STUDENT[:, :3], TEACHER[:, :3], 1.5)
    np.testing.assert_allclose(2 ** projected.log_decorrelation(STUDENT, dead, 1.5), 2**three + 1, rtol=1e-5)


def test_mutual_information_is_least_for_a_teacher_whose_embeddings_are_parallel():
    parallel = np.outer(np.arange(1.0, 7.0), [1, 2, 3])
    np.testing.assert_allclose(projected.mutual_information(STUDENT, parallel), 0, atol=1e-6)
    assert projected.mutual_information(STUDENT, TEACHER) > 0
