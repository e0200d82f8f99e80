"""Verdicts as sentences."""

import pytest

from experiments.compare.statistics import Difference
from experiments.compare.verdicts import sentence


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            ("rdd", 5, 0.424, (0.2, 0.61), 0.0024, 0.012, "better", 0.2, 5),
            "rdd is better than kd by 0.42 points (95 % interval 0.20 to 0.61, 5 seeds, "
            "p = 0.002 before and p = 0.012 after Holm's correction for 5 methods).",
        ),
        (
            ("at", 5, -7.1, (-8.2, -6.0), 0.00002, 0.0002, "worse", 1.2, 13),
            "at is worse than kd by 7.10 points (95 % interval 6.00 to 8.20, 5 seeds, "
            "p < 0.001 before and p < 0.001 after Holm's correction for 13 methods).",
        ),
        (
            ("sp", 3, -0.1, (-0.4, 0.3), 0.6, 0.6, "not distinguishable", 0.35, 1),
            "sp is not distinguishable from kd at 3 seeds (-0.10 points, 95 % interval -0.40 to 0.30, p = 0.600); "
            "the difference is smaller than its standard deviation over seeds, 0.35 points.",
        ),
    ],
)
def test_sentence(difference, words):
    assert sentence(Difference(*difference), "kd") == words


@pytest.mark.parametrize(
    ("difference", "caveat"),
    [
        ({"pairs": 0}, "there is no seed at which both have an accuracy"),
        ({"pairs": 1}, "one seed gives no estimate"),
        ({"pairs": 2, "interval": (-11.7, 13.7), "p_value": 0.5, "deviation": 0.5}, "± 12.7 standard errors"),
        ({"pairs": 3, "interval": (1.0, 1.0), "p_value": 0.25, "deviation": 0.0}, "p is from a sign test"),
        ({"pairs": 2, "interval": (0.9, 1.1), "deviation": 0.1, "diverged": 1}, "a run diverged at 1 seed"),
    ],
)
def test_weak_evidence_is_named(difference, caveat):
    given = {"label": "rdd", "mean": 1.0, "interval": None, "p_value": None, "adjusted": difference.get("p_value")}
    assert caveat in sentence(Difference(verdict="not distinguishable", **(given | difference)), "kd")


def test_small_differences_are_not_written_as_negative_zero():
    difference = Difference("rdd", 3, -0.001, (-0.002, 0.0), 0.5, 0.5, "not distinguishable", 0.001)
    assert "-0.00" not in sentence(difference, "kd")
