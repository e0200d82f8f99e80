"""Formats the difference between a method and the baseline as a sentence."""

from experiments.compare.statistics import ROUNDING, Difference, standard_errors


def sentence(difference: Difference, baseline: str) -> str:
    """Returns the verdict with the difference in points, its interval, the number of seeds, and p-values.

    The number of points is positive both for "better by" and for "worse by". Caveats follow: a difference that is
    smaller than its deviation over seeds, an interval from two seeds, or the reason why there is no p-value.
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


def format_p_value(value: float) -> str:
    """Formats a p-value with three decimals, or as "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


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


def _p(value: float) -> str:
    formatted = format_p_value(value)
    return f"p {formatted}" if formatted.startswith("<") else f"p = {formatted}"


def _caveats(difference: Difference) -> str:
    caveats, deviation = [], difference.deviation
    if deviation is not None and deviation > max(ROUNDING, abs(difference.mean)):
        caveats.append(f"the difference is smaller than its standard deviation over seeds, {deviation:.2f} points")
    if deviation is not None and deviation <= ROUNDING:
        test = "" if difference.p_value is None else " and p is from a sign test"
        caveats.append(f"the difference is the same at every seed, so the interval is a point{test}")
    elif difference.pairs == 2:
        caveats.append(f"an interval from 2 seeds is very wide, ± {standard_errors(2):.1f} standard errors")
    if difference.pairs == 1:
        caveats.append("one seed gives no estimate of the variation over seeds")
    if difference.diverged:
        caveats.append(f"a run diverged at {_seeds(difference.diverged)}, left out here, so there is no test")
    return "".join(f"; {caveat}" for caveat in caveats)


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"
