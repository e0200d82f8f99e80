"""The statistics over seeds: known intervals and p-values, and what few seeds do not show."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.compare import statistics

# Hours of sleep gained with two drugs, ten patients (Student, 1908); every textbook has t = 4.0621 and p = 0.002833.
DEXTRO = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
LAEVO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def by_seed(values):
    return dict(enumerate(values))


def compare(gains, base=90.0):
    """A method with these gains over a baseline that differs from seed to seed."""
    baseline = {seed: base + 0.25 * seed for seed in range(len(gains))}
    accuracies = {"kd": baseline, "rdd": {seed: baseline[seed] + gain for seed, gain in enumerate(gains)}}
    return statistics.differences(accuracies, "kd")["rdd"]


def equal_but_for_rounding(count):
    """One image of 360 more at every seed, by percentages in float32."""
    right = 355 - 61 * np.arange(count)
    accuracies = {"kd": right, "rdd": right + 1}
    percentages = {label: by_seed((100 * n / 360).astype(np.float32).tolist()) for label, n in accuracies.items()}
    found = statistics.differences(percentages, "kd")["rdd"]
    assert found.deviation > 0
    return found


def test_spread_has_the_sample_s_deviation():
    spread = statistics.spread([97.0, 99.0, 98.0])
    assert spread.mean == 98.0
    assert spread.deviation == pytest.approx(1.0)
    assert spread.count == 3
    assert spread.diverged == 0


def test_interval_is_the_textbook_s():
    # R's t.test(extra) of the first drug, as ?sleep prints it.
    spread = statistics.spread(DEXTRO)
    assert (spread.mean, spread.deviation) == pytest.approx((0.75, 1.789010), abs=1e-6)
    assert spread.interval == pytest.approx((-0.5297804, 2.0297804), abs=1e-7)


def test_interval_of_a_difference_is_the_textbook_s():
    # R's t.test(extra ~ group, data = sleep, paired = TRUE).
    found = statistics.differences({"laevo": by_seed(LAEVO), "dextro": by_seed(DEXTRO)}, "dextro")["laevo"]
    assert found.interval == pytest.approx((0.7001142, 2.4598858), abs=1e-7)


@pytest.mark.parametrize(
    ("values", "half"),
    [
        # The tables' t for 1, 2 and 4 degrees of freedom; 97.5 % of Cauchy's distribution is tan(0.475 pi).
        ([97.0, 99.0], math.tan(0.475 * math.pi)),
        ([98.0, 97.0, 99.0], 4.302653 / math.sqrt(3)),
        ([96.0, 97.0, 98.0, 99.0, 100.0], 2.776445 * math.sqrt(2.5 / 5)),
    ],
)
def test_interval_is_as_wide_as_the_tables_of_t_say(values, half):
    assert statistics.spread(values).interval == pytest.approx((98.0 - half, 98.0 + half), abs=1e-5)


def test_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(0).normal(0.0, 1.0, 4000)
    low, high = statistics.spread(values).interval
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(4000), rel=0.001)


def test_interval_does_not_depend_on_the_order():
    values = [98.3, 97.1, 99.2, 98.9, 98.4, 97.7, 99.9, 98.0]
    assert statistics.spread(values[::-1]) == statistics.spread(values)


def test_binomial_error_by_hand():
    assert statistics.binomial_error(50.0, 2500) == pytest.approx(1.0)
    assert statistics.binomial_error(56.0, 2000) == pytest.approx(1.11, abs=0.005)
    assert statistics.binomial_error(100.0, 360) == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [2, 3, 10])
def test_interval_of_equal_values_is_a_point(count):
    spread = statistics.spread([98.61] * count)
    assert spread.interval == pytest.approx((98.61, 98.61))
    assert spread.deviation == pytest.approx(0.0, abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_one_value_and_none_have_no_spread():
    assert statistics.spread([98.0]) == statistics.Spread(98.0, None, None, 1)
    mean, *others = statistics.spread([])
    assert math.isnan(mean)
    assert others == [None, None, 0, 0]


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_left_out_and_counted(missing):
    left = statistics.spread([97.0, missing, 99.0])
    assert left == statistics.spread([97.0, 99.0])._replace(diverged=1)
    assert left.count == 2
    assert statistics.spread([missing, missing])[3:] == (0, 2)


def test_holm_by_hand():
    # In order: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 that is raised to the one before.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [([], []), ([0.03], [0.03]), ([0.6, 0.7, 0.9], [1.0, 1.0, 1.0]), ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06])],
)
def test_holm_is_capped_at_one_and_treats_equals_alike(p_values, adjusted):
    assert statistics.holm(p_values) == pytest.approx(adjusted)


def test_paired_test_gives_the_textbook_s_value():
    found = statistics.differences({"laevo": by_seed(LAEVO), "dextro": by_seed(DEXTRO)}, "dextro")["laevo"]
    assert found.p_value == pytest.approx(0.002833, abs=5e-7)
    assert found.mean == pytest.approx(1.58)
    assert found.deviation == pytest.approx(1.58 * math.sqrt(10) / 4.0621, rel=1e-4)
    assert found.adjusted == found.p_value
    assert (found.label, found.pairs, found.verdict) == ("laevo", 10, "better")


def test_a_method_is_as_much_worse_as_the_other_is_better():
    better = statistics.differences({"laevo": by_seed(LAEVO), "dextro": by_seed(DEXTRO)}, "dextro")["laevo"]
    worse = statistics.differences({"laevo": by_seed(LAEVO), "dextro": by_seed(DEXTRO)}, "laevo")["dextro"]
    assert worse.verdict == "worse"
    assert worse.mean == pytest.approx(-better.mean)
    assert worse.p_value == pytest.approx(better.p_value)


def test_paired_test_in_closed_form():
    # Student's distribution is elementary for two and one degrees of freedom; here t = 2 sqrt(3) and t = 3.
    assert compare([1.0, 2.0, 3.0]).p_value == pytest.approx(1 - math.sqrt(12 / 14))
    assert compare([1.0, 2.0]).p_value == pytest.approx(1 - 2 / math.pi * math.atan(3.0))


def test_correction_is_for_the_methods_that_were_tested():
    gains = {"first": [1.0, 1.1, 0.9], "second": [1.0, 1.0, 1.3], "third": [0.3, -0.2, 0.1], "lone": [1.0]}
    accuracies = {"ce": by_seed([50.0, 50.0, 50.0])}
    accuracies |= {label: by_seed([50.0 + gain for gain in values]) for label, values in gains.items()}
    found = statistics.differences(accuracies, "ce")
    assert list(found) == ["first", "second", "third", "lone"]
    # t = 10 sqrt(3), 11 and 0.4588 with two degrees of freedom.
    before = [1 - t / math.sqrt(t * t + 2) for t in (10 * math.sqrt(3), 11.0, 0.4588315)]
    assert [found[label].p_value for label in gains] == [*(pytest.approx(p, rel=1e-5) for p in before), None]
    after = [3 * before[0], 2 * before[1], before[2]]
    assert [found[label].adjusted for label in gains] == [*(pytest.approx(p, rel=1e-5) for p in after), None]
    assert {difference.compared for label, difference in found.items() if label != "lone"} == {3}
    assert [found[label].verdict for label in gains] == ["better", "better", *["not distinguishable"] * 2]


def test_correction_can_take_a_verdict_away():
    promising, noise = [1.0, 1.1, 0.3, 0.9, 0.2], [0.5, -0.5, 0.1, -0.2, 0.2]
    baseline = by_seed([90.0] * 5)
    promising, noise = (by_seed([90.0 + gain for gain in gains]) for gains in (promising, noise))
    alone = statistics.differences({"ce": baseline, "kd": promising}, "ce")["kd"]
    assert 0.0125 < alone.p_value < 0.05
    assert alone.verdict == "better"
    many = statistics.differences({"ce": baseline, "kd": promising, "at": noise, "sp": noise, "cc": noise}, "ce")["kd"]
    assert many.adjusted == pytest.approx(4 * alone.p_value)
    assert many.verdict == "not distinguishable"


def test_interval_of_a_difference_agrees_with_its_p_value_before_the_correction():
    for gains, above_zero in [([0.1, 0.5, 0.9], False), ([0.4, 0.5, 0.6], True)]:
        found = compare(gains)
        assert (found.interval[0] > 0) == (found.p_value < 0.05) == above_zero


def test_only_seeds_of_both_count():
    accuracies = {"kd": {0: 90.0, 1: 91.0, 2: 92.0, 7: 10.0}, "rdd": {3: 99.0, 2: 95.0, 0: 91.0, 1: 93.0}}
    found = statistics.differences(accuracies, "kd")["rdd"]
    assert found.pairs == 3
    assert found.mean == pytest.approx(2.0)
    assert found.p_value == pytest.approx(1 - math.sqrt(12 / 14))


@pytest.mark.filterwarnings("error")
def test_no_pairs_and_one_pair_are_no_comparison():
    found = statistics.differences({"kd": {0: 90.0}, "rdd": {0: 95.0}, "at": {1: 20.0}, "sp": {}}, "kd")
    assert found["rdd"] == statistics.Difference("rdd", 1, 5.0, None, None, None, "not distinguishable")
    for label in ("at", "sp"):
        assert math.isnan(found[label].mean)
        assert found[label]._replace(mean=0.0) == (label, 0, 0.0, None, None, None, "not distinguishable", None, 1, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("count", "p_value"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_same_difference_at_every_seed_is_tested_by_its_signs(count, p_value):
    found = equal_but_for_rounding(count)
    assert found.p_value == p_value
    assert found.mean == pytest.approx(100 / 360, abs=1e-5)
    assert found.verdict == ("better" if count == 6 else "not distinguishable")


@pytest.mark.filterwarnings("error")
def test_same_difference_by_a_binomial_test():
    assert compare([-0.5] * 7).p_value == pytest.approx(stats.binomtest(7, 7).pvalue)
    assert compare([-0.5] * 7).verdict == "worse"


@pytest.mark.filterwarnings("error")
def test_no_difference_at_all():
    found = compare([0.0, 0.0, 0.0])
    assert (found.p_value, found.verdict, found.interval) == (1.0, "not distinguishable", (0.0, 0.0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("failing", ["kd", "rdd"])
def test_diverged_run_leaves_no_verdict(failing):
    accuracies = {"kd": by_seed([90.0] * 8), "rdd": by_seed([95.0, 95.1, 94.9, 95.2, 94.8, 95.0, 95.1, 94.9])}
    assert statistics.differences(accuracies, "kd")["rdd"].verdict == "better"
    accuracies[failing] = accuracies[failing] | {3: math.nan}
    found = statistics.differences(accuracies, "kd")["rdd"]
    assert (found.pairs, found.diverged, found.p_value, found.adjusted) == (7, 1, None, None)
    assert found.mean == pytest.approx(34.8 / 7)
    assert found.verdict == "not distinguishable"


def test_unknown_baseline_is_named():
    with pytest.raises(ValueError, match="'ce' is none of the methods: kd, rdd"):
        statistics.differences({"kd": {0: 1.0}, "rdd": {0: 2.0}}, "ce")


def test_baseline_alone_has_nothing_to_differ_from():
    assert statistics.differences({"kd": {0: 1.0}}, "kd") == {}
