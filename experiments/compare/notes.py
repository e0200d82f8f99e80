"""The notes of a comparison: how its numbers are made, what they are conditional on, which source trained the runs."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from experiments.compare import statistics
from experiments.compare.results import Json, accuracies, means, teachers

_COST = "Minutes and seconds are medians over the seeds; all else is mean ± sample deviation."
_AGREEMENT = (
    "CKA, rank agreement and neighbours shared compare the student's embeddings of the test images with the teacher's."
)
_TRANSFER = "Transfer is the accuracy in percent of a linear probe of the student's embeddings on another data set."


def accuracy_note(results: Json) -> str:
    """Explains the columns of the table of accuracies, for the number of seeds that were asked for."""
    picked = "held-out training images" if results["validation"] else "the test set and flatters"
    epochs = f"The last epoch is what counts, as RepDistiller reports it; the best epoch is picked with {picked}."
    if len(results["seeds"]) == 1:
        return f"Test accuracy in percent, of one seed: without a second there is no interval. {epochs}"
    tests = (
        "Whether methods differ is decided by t-tests paired by seed, with Holm's correction for the number of "
        "methods; the intervals are not corrected."
    )
    return " ".join([_intervals(results), epochs, tests])


def _intervals(results: Json) -> str:
    seeds = len(results["seeds"])
    deviations = statistics.standard_errors(seeds) / math.sqrt(seeds)
    parts = [
        "Test accuracy in percent: mean ± sample deviation over the seeds, and the 95 % interval of the mean by "
        f"Student's t, which at {seeds} seeds is the mean ± {deviations:.2f} deviations."
    ]
    spreads = [statistics.spread(list(accuracies(results, label).values())) for label in results["labels"]]
    found = [spread for spread in spreads if spread.interval]
    if seeds == 2:
        parts.append("Intervals from 2 seeds are very wide and say little: run more seeds.")
    if any(spread.deviation <= statistics.ROUNDING for spread in found):
        parts.append(
            "Where all seeds have the same accuracy the interval is a point, and exact to one test image at best."
        )
    if any(spread.interval[1] > 100 for spread in found):
        parts.append("An interval assumes normally distributed accuracies, and may therefore pass 100 %.")
    return " ".join(parts)


def conditions(results: Json) -> str:
    """States what is the same in all runs, so that no interval covers it; empty where no run has an accuracy."""
    ordered = sorted(means(results).values())
    if not ordered:
        return ""
    count, seeds = results["test_images"], len(results["seeds"])
    shared = [*_taught(results), f"one kind of machine ({results['device']})", f"one set of {count:,} test images"]
    errors = [
        f"{statistics.binomial_error(accuracy, count):.2f} points at {accuracy:.2f} %"
        for accuracy in dict.fromkeys((ordered[0], ordered[-1]))
    ]
    return (
        f"{'The intervals are over seeds alone: all' if seeds > 1 else 'All'} runs share {', '.join(shared[:-1])} and "
        f"{shared[-1]}. Another teacher, even of the same recipe, or another kind of processor, where the same seed "
        "trains another student, may change every figure by more than its interval. As an estimate for unseen images, "
        f"one accuracy on this test set has a binomial standard error of {' and '.join(errors)}; methods tested on the "
        "same images share much of it."
    )


def _taught(results: Json) -> list[str]:
    found = [f"{name}, {accuracy:.2f} %" for name, values in teachers(results).items() for accuracy in values]
    if not found:
        return []
    return [f"{'one teacher' if len(found) == 1 else f'{len(found)} teachers'} ({'; '.join(found)})"]


def cost_note(columns: Iterable[str]) -> str:
    """Explains the columns that the table of costs has."""
    columns = list(columns)
    agreement = [_AGREEMENT] if "CKA" in columns else []
    transfer = [_TRANSFER] if any(column.startswith("transfer") for column in columns) else []
    return " ".join([_COST, *agreement, *transfer])


def source(results: Json) -> str:
    """States which version and commit trained the finished runs, and when; empty where none is finished.

    Runs of several commits are listed by commit.
    """
    runs = [run for run in results["runs"] if "versions" in run["summary"]]
    if not runs:
        return ""
    labels: dict[str, list[str]] = {}
    for run in runs:
        labels.setdefault(_version(run), []).append(run["label"])
    days = sorted(run["summary"]["finished"][:10] for run in runs if "finished" in run["summary"])
    when = f" ({' to '.join(dict.fromkeys((days[0], days[-1])))})" if days else ""
    if len(labels) == 1:
        return f"All finished runs were trained by {next(iter(labels))}{when}."
    listed = "; ".join(f"{version}: {_counted(trained)}" for version, trained in labels.items())
    return f"The runs were trained by {len(labels)} different versions of the source{when}: {listed}."


def _version(run: Json) -> str:
    recorded: Mapping[str, str] = run["summary"]["versions"]
    return f"rdd_jax {recorded['rdd_jax']}" if "rdd_jax" in recorded else "a commit that they have not recorded"


def _counted(labels: Sequence[str]) -> str:
    groups = ((label, len(list(group))) for label, group in itertools.groupby(sorted(labels)))
    return ", ".join(f"{label} ({count} run{'' if count == 1 else 's'})" for label, count in groups)
