"""Statistics of accuracies over a few seeds: means with 95 % intervals, and paired tests against a baseline.

Intervals and tests are Student's. Methods are compared with a baseline seed by seed, since a seed fixes what is random
in both. A value that is not finite is that of a run that has diverged: it is left out and counted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

_LEVEL = 0.05
# In points. Less than an image's share of any test set; more than float32 loses of a percentage.
ROUNDING = 1e-4

Verdict = Literal["better", "worse", "not distinguishable"]


class Spread(NamedTuple):
    """Values over seeds, in the values' unit.

    Attributes:
        mean: NaN where there is no finite value.
        deviation: the sample's (n - 1), None for fewer than two values.
        interval: 95 % interval of the mean by Student's t, None for fewer than two values.
        count: how many values are finite; all of the above is of these.
        diverged: how many are not.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    count: int
    diverged: int = 0


class Difference(NamedTuple):
    """A method's accuracy less the baseline's at the same seed, in points.

    Attributes:
        label: the method's.
        pairs: the seeds at which both have a finite accuracy; the mean, interval and deviation are of these.
        mean: NaN without pairs.
        interval: 95 % interval of the mean by Student's t, not corrected for the number of methods; None for fewer
            than two pairs.
        p_value: two-sided, before any correction; None for fewer than two pairs or where a run has diverged.
        adjusted: the p-value after Holm's correction.
        verdict: "not distinguishable" unless the adjusted p-value is below 0.05.
        deviation: of the differences, the sample's (n - 1), None for fewer than two pairs.
        compared: how many methods the correction is for, which are those that have a p-value.
        diverged: the seeds at which at least one of the two accuracies is not finite.
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

    The interval is Student's: mean ± t * deviation / sqrt(n), t being the 97.5 % quantile with n - 1 degrees of
    freedom. It assumes that the values are independent and normally distributed, and may pass 100 %. Where all values
    are equal the deviation is 0 and the interval is a point; equal accuracies are then known to one test image, not
    exactly.

    Args:
        values: [n], in any order; those that are not finite are left out and counted.
    """
    finite = np.sort([value for value in values if math.isfinite(value)])
    count, diverged = len(finite), len(values) - len(finite)
    if count < 2:
        return Spread(float(finite[0]) if count else math.nan, None, None, count, diverged)
    mean, deviation = float(finite.mean()), float(finite.std(ddof=1))
    half = standard_errors(count) * deviation / math.sqrt(count)
    return Spread(mean, deviation, (mean - half, mean + half), count, diverged)


def standard_errors(count: int) -> float:
    """Returns the half-width of a 95 % interval of the mean of `count` values, at least 2, in its standard errors.

    It is the 97.5 % quantile of Student's t: 12.7 for two values, 4.3 for three, 2.8 for five, 1.96 for many.
    """
    return float(stats.t.ppf(1 - _LEVEL / 2, count - 1))


def binomial_error(accuracy: float, num_images: int) -> float:
    """Returns the binomial standard error, in points, of an accuracy in percent on that many test images.

    It tells how far the accuracy may be from that on all images of which the test set is a sample.
    """
    return math.sqrt(accuracy * (100 - accuracy) / num_images)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values, [n], for their number: the smallest times n, the next times n - 1, none below one before it.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def differences(accuracies: Mapping[str, Mapping[int, float]], baseline: str) -> dict[str, Difference]:
    """Compares every method with the baseline, by the seeds that both have.

    The p-value is that of a two-sided paired t-test. Where the difference is the same at every seed, the t-test divides
    by a deviation of zero and would have p = 0. But accuracies go in steps of one image, and a few that happen to be
    equal prove no such thing. A sign test takes its place: p = 2^(1 - n) for n seeds, or 1 for a difference of zero.

    Where a run of either has diverged there is no p-value, and the two are not distinguishable: the seeds that are left
    are a selection, which flatters whichever of the two has failed.

    Args:
        accuracies: in percent, by label and seed.
        baseline: its label.

    Returns:
        The differences by label, all but the baseline's, in the order given.

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
    """Without the correction, and so without a verdict."""
    seeds = [seed for seed in methods if seed in baselines]
    gains = spread([methods[seed] - baselines[seed] for seed in seeds])
    p_value = None
    if gains.count > 1 and not gains.diverged:
        p_value = _p_value(gains, [methods[seed] for seed in seeds], [baselines[seed] for seed in seeds])
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


def _p_value(gains: Spread, methods: Sequence[float], baselines: Sequence[float]) -> float:
    if gains.deviation > ROUNDING:
        return float(stats.ttest_rel(methods, baselines).pvalue)
    return 2.0 ** (1 - gains.count) if abs(gains.mean) > ROUNDING else 1.0


def _verdict(mean: float, adjusted: float) -> Verdict:
    if adjusted >= _LEVEL:
        return "not distinguishable"
    return "better" if mean > 0 else "worse"


def sentence(difference: Difference, baseline: str) -> str:
    """One sentence: the verdict, the difference in points, the interval, the seeds, p before and after the correction.

    A method that is worse is so by a positive number of points. The sentence also says where the difference is smaller
    than its own deviation over seeds, so that one seed alone may well show the opposite, and why there is no p-value.
    """
    label, verdict, seeds = difference.label, difference.verdict, _seeds(difference.pairs)
    if not difference.pairs:
        claim = f"{label} is {verdict} from {baseline}: there is no seed at which both have an accuracy"
        return f"{claim}{_caveats(difference)}."
    if verdict == "not distinguishable":
        claim = f"{label} is {verdict} from {baseline} at {seeds}"
        evidence = [f"{difference.mean:+z.2f} points", *_interval(difference), *_p_values(difference)]
    else:
        claim = f"{label} is {verdict} than {baseline} by {abs(difference.mean):.2f} points"
        evidence = [*_interval(difference), seeds, *_p_values(difference)]
    return f"{claim} ({', '.join(evidence)}){_caveats(difference)}."


def _interval(difference: Difference) -> list[str]:
    if difference.interval is None:
        return []
    low, high = difference.interval
    if difference.verdict == "worse":
        low, high = -high, -low
    return [f"95 % interval {low:z.2f} to {high:z.2f}"]


def _p_values(difference: Difference) -> list[str]:
    if difference.p_value is None:
        return []
    if difference.compared == 1:
        return [_p(difference.p_value)]
    corrected = f"{_p(difference.adjusted)} after Holm's correction for {difference.compared} methods"
    return [f"{_p(difference.p_value)} before and {corrected}"]


def _caveats(difference: Difference) -> str:
    caveats = []
    if difference.deviation is not None and difference.deviation > max(ROUNDING, abs(difference.mean)):
        caveats.append(f"the difference is smaller than its own spread over seeds, {difference.deviation:.2f} points")
    if difference.deviation is not None and difference.deviation <= ROUNDING:
        test = "" if difference.p_value is None else " and p a sign test's"
        caveats.append(f"the difference is the same at every seed, so that the interval is a point{test}")
    elif difference.pairs == 2:
        errors = standard_errors(2)
        caveats.append(f"from 2 seeds an interval is very wide, {errors:.1f} standard errors to either side")
    if difference.pairs == 1:
        caveats.append("one seed tells nothing about the spread over seeds, and so nothing about the methods")
    if difference.diverged:
        caveats.append(f"a run has diverged at {_seeds(difference.diverged)} left out here, so that there is no test")
    return "".join(f"; {caveat}" for caveat in caveats)


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
