"""The notes of a comparison: how its numbers are computed, what no interval covers, which commits trained the runs."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from experiments.compare import statistics
from experiments.compare.results import Results, Run, accuracies, means, teachers

CALIBRATION = (
    "On the test images after the last epoch: the negative log-likelihood of the labels in nats (NLL) and the expected "
    "calibration error in 15 bins of confidence (ECE); mean ± sample deviation over the seeds. Of both a smaller value "
    "is better. Differences are tested like those of the accuracy, each of the two quantities on its own."
)
_COST = "Minutes and seconds are medians over the seeds; the other columns are mean ± sample deviation."
_SIMILARITY = (
    "CKA, rank correlation and mutual k-NN compare the student's embeddings of the test images with the teacher's."
)
_TRANSFER = "Transfer is the accuracy in percent of a linear probe on the student's embeddings of another data set."


def accuracy_note(results: Results) -> str:
    """Explains the columns of the accuracy table."""
    picked = "held-out training images" if results["validation"] else "the test set, which is optimistic"
    epochs = f"Compare the last epoch, as RepDistiller does; the best epoch is picked on {picked}."
    if len(results["seeds"]) == 1:
        return f"Test accuracy in percent of one seed, so there are no intervals. {epochs}"
    tests = (
        "Differences are tested by t-tests paired by seed, with Holm's correction for the number of methods; the "
        "intervals are not corrected."
    )
    return " ".join([_interval_note(results), epochs, tests])


def _interval_note(results: Results) -> str:
    seeds = len(results["seeds"])
    deviations = statistics.standard_errors(seeds) / math.sqrt(seeds)
    sentences = [
        "Test accuracy in percent: mean ± sample deviation over the seeds, and the 95 % interval of the mean by "
        f"Student's t, which at {seeds} seeds is the mean ± {deviations:.2f} deviations."
    ]
    spreads = [statistics.spread(list(accuracies(results, label).values())) for label in results["labels"]]
    if seeds == 2:
        sentences.append("Intervals from 2 seeds are very wide; run more seeds.")
    if any(spread.deviation is not None and spread.deviation <= statistics.ROUNDING for spread in spreads):
        sentences.append("Where all seeds have the same accuracy the interval is a point.")
    if any(spread.interval is not None and spread.interval[1] > 100 for spread in spreads):
        sentences.append("An interval assumes normally distributed accuracies, and may therefore exceed 100 %.")
    return " ".join(sentences)


def conditions(results: Results) -> str:
    """States what all runs share, which no interval covers; empty where no run has an accuracy."""
    ordered = sorted(means(results).values())
    if not ordered:
        return ""
    count, seeds = results["test_images"], len(results["seeds"])
    shared = [*_teachers(results), f"one kind of machine ({results['device']})", f"one set of {count:,} test images"]
    errors = [
        f"{statistics.binomial_error(accuracy, count):.2f} points at {accuracy:.2f} %"
        for accuracy in dict.fromkeys((ordered[0], ordered[-1]))
    ]
    return (
        f"{'The intervals are over seeds only: all' if seeds > 1 else 'All'} runs share {', '.join(shared[:-1])} and "
        f"{shared[-1]}. Another teacher, even of the same recipe, or another kind of processor, on which the same seed "
        "trains another student, may change an accuracy by more than its interval. As an estimate for new images, an "
        f"accuracy on this test set has a binomial standard error of {' and '.join(errors)}; methods tested on the "
        "same images share most of this error."
    )


def _teachers(results: Results) -> list[str]:
    found = [f"{name}, {accuracy:.2f} %" for name, values in teachers(results).items() for accuracy in values]
    if not found:
        return []
    return [f"{'one teacher' if len(found) == 1 else f'{len(found)} teachers'} ({'; '.join(found)})"]


def cost_note(columns: Iterable[str]) -> str:
    """Explains the columns that the cost table has."""
    columns = list(columns)
    similarity = [_SIMILARITY] if "CKA" in columns else []
    transfer = [_TRANSFER] if any(column.startswith("transfer") for column in columns) else []
    return " ".join([_COST, *similarity, *transfer])


def versions(results: Results) -> str:
    """States which commits trained the runs, and when; empty where no run is finished."""
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
    listed = "; ".join(f"{version}: {_count_runs(trained)}" for version, trained in labels.items())
    return f"The runs were trained by {len(labels)} versions of the source{when}: {listed}."


def _version(run: Run) -> str:
    recorded: Mapping[str, str] = run["summary"]["versions"]
    return f"rdd_jax {recorded['rdd_jax']}" if "rdd_jax" in recorded else "an unrecorded commit"


def _count_runs(labels: Sequence[str]) -> str:
    groups = ((label, len(list(group))) for label, group in itertools.groupby(sorted(labels)))
    return ", ".join(f"{label} ({count} run{'' if count == 1 else 's'})" for label, count in groups)
