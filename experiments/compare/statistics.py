"""Statistics of accuracies over a few seeds: means with 95 % intervals, and paired tests against a baseline.

Intervals and tests use Student's t distribution. A method is compared with the baseline seed by seed, because a seed
fixes the random numbers of both. A value that is not finite belongs to a diverged run; it is left out and counted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

_LEVEL = 0.05
# In percentage points: less than one image of any test set, more than the rounding error of a percentage in float32.
ROUNDING = 1e-4

Verdict = Literal["better", "worse", "not distinguishable"]


class Spread(NamedTuple):
    """The distribution of values over seeds, in the unit of the values.

    Attributes:
        mean: of the finite values; NaN without any.
        deviation: sample standard deviation (n - 1); None for fewer than two finite values.
        interval: 95 % interval of the mean; None for fewer than two finite values.
        count: the number of finite values.
        diverged: the number of other values.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    count: int
    diverged: int = 0


class Difference(NamedTuple):
    """A method's accuracy minus the baseline's at the same seed, in percentage points.

    Attributes:
        label: of the method.
        pairs: the number of seeds at which both accuracies are finite; mean, interval and deviation are over these.
        mean: NaN without pairs.
        interval: 95 % interval of the mean, not corrected for the number of methods; None for fewer than two pairs.
        p_value: two-sided, not corrected; None for fewer than two pairs or where a run has diverged.
        adjusted: the p-value after Holm's correction.
        verdict: "not distinguishable" unless the adjusted p-value is below 0.05.
        deviation: sample standard deviation (n - 1) of the differences; None for fewer than two pairs.
        compared: the number of methods that the correction is for, which are those with a p-value.
        diverged: the number of seeds at which one of the accuracies is not finite.
    """

    label: str
    pairs: int
    mean: float
    interval: tuple[float, float] | None
    p_value: float | None
    adjusted: float | None
    verdict: Verdict
    deviation: float | None = None
    compared: int = 1
    diverged: int = 0


def spread(values: Sequence[float]) -> Spread:
    """Computes the mean of a few values, their deviation, and the 95 % interval of the mean.

    The interval is mean ± t * deviation / sqrt(n), t being the 97.5 % quantile of Student's distribution with n - 1
    degrees of freedom. It assumes independent, normally distributed values and may exceed 100 %. For equal values it is
    a point, although an accuracy is known to one test image only.

    Args:
        values: [n] in any order; those that are not finite are left out and counted.
    """
    finite = np.sort([value for value in values if math.isfinite(value)])
    count, diverged = len(finite), len(values) - len(finite)
    if count < 2:
        return Spread(float(finite[0]) if count else math.nan, None, None, count, diverged)
    mean, deviation = float(finite.mean()), float(finite.std(ddof=1))
    half = standard_errors(count) * deviation / math.sqrt(count)
    return Spread(mean, deviation, (mean - half, mean + half), count, diverged)


def standard_errors(count: int) -> float:
    """Returns the half-width of the 95 % interval of a mean of `count` (at least 2) values, in standard errors.

    It is the 97.5 % quantile of Student's t: 12.7 for two values, 4.3 for three, 2.8 for five, 1.96 in the limit.
    """
    return float(stats.t.ppf(1 - _LEVEL / 2, count - 1))


def binomial_error(accuracy: float, num_images: int) -> float:
    """Returns the binomial standard error, in percentage points, of an accuracy in percent on `num_images` images."""
    return math.sqrt(accuracy * (100 - accuracy) / num_images)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values, [n], for their number by Holm's step-down method.

    The smallest is multiplied by n, the next by n - 1, and so on; each is at least the one before it and at most 1.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def differences(accuracies: Mapping[str, Mapping[int, float]], baseline: str) -> dict[str, Difference]:
    """Compares every method with the baseline at the seeds that both have.

    The test is a two-sided paired t-test. Where the difference is the same at every seed, the t-test would divide by a
    deviation of zero and report p = 0, although accuracies move in steps of one image and a few may be equal by chance.
    A sign test replaces it: p = 2^(1 - n) for n seeds, or 1 for a difference of zero.

    Where a run of either has diverged there is no p-value and the verdict is "not distinguishable": the remaining seeds
    are a selection in favour of the method that diverged.

    Args:
        accuracies: in percent, by label and seed.
        baseline: a label.

    Returns:
        The differences by label, without the baseline, in the order of `accuracies`.

    Raises:
        ValueError: the baseline is not among the labels.
    """
    if baseline not in accuracies:
        raise ValueError(f"the baseline {baseline!r} is none of the methods: {', '.join(accuracies)}")
    found = {
        label: _difference(label, by_seed, accuracies[baseline])
        for label, by_seed in accuracies.items()
        if label != baseline
    }
    p_values = {label: difference.p_value for label, difference in found.items() if difference.p_value is not None}
    for label, adjusted in zip(p_values, holm(list(p_values.values())), strict=True):
        verdict = _verdict(found[label].mean, adjusted)
        found[label] = found[label]._replace(adjusted=adjusted, verdict=verdict, compared=len(p_values))
    return found


def _difference(label: str, methods: Mapping[int, float], baselines: Mapping[int, float]) -> Difference:
    """Computes a difference before Holm's correction, which decides the verdict."""
    seeds = [seed for seed in methods if seed in baselines]
    gains = spread([methods[seed] - baselines[seed] for seed in seeds])
    p_value = None
    if gains.deviation is not None and not gains.diverged:
        if gains.deviation > ROUNDING:
            paired = stats.ttest_rel([methods[seed] for seed in seeds], [baselines[seed] for seed in seeds])
            p_value = float(paired.pvalue)
        else:
            p_value = 2.0 ** (1 - gains.count) if abs(gains.mean) > ROUNDING else 1.0
    return Difference(
        label=label,
        pairs=gains.count,
        mean=gains.mean,
        interval=gains.interval,
        p_value=p_value,
        adjusted=None,
        verdict="not distinguishable",
        deviation=gains.deviation,
        diverged=gains.diverged,
    )


def _verdict(mean: float, adjusted: float) -> Verdict:
    if adjusted >= _LEVEL:
        return "not distinguishable"
    return "better" if mean > 0 else "worse"
