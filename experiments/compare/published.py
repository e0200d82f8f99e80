"""Published accuracies of resnet32x4 -> resnet8x4 on CIFAR-100 after 240 epochs, and a reader of published curves.

Accuracies are in percent. The first is from Tian et al. 2020 (RepDistiller's table), the one after the slash from
Irakiza & Mugisha 2026. Those of rdd and of the samplers are from the latter, that of rrd from Giakoumoglou & Stathaki
2024.

Irakiza & Mugisha's text calls its accuracies means of 5 runs. Their release has the log of a single run for each of kd,
curriculum, crd and rkd, whose last epochs are exactly the text's 72.93, 72.96, 75.45 and 71.55. The 59.49 of the rdx
sampler is the last epoch of the second of two runs, the one that mines again; the first ends at 54.53. The release has
no log of rdd and its 75.58.
"""

import csv
from pathlib import Path

from rdd_jax.core.errors import UserError

PRESET, TEACHER, STUDENT = "cifar100", "resnet32x4", "resnet8x4"
TEACHER_ACCURACY = "79.42"
ACCURACIES = {
    "ce": "72.50",
    "kd": "73.33 / 72.93",
    "kd_standardized": "76.62",
    "dkd": "76.32",
    "dist": "76.31",
    "ttm": "76.17",
    "fitnets": "73.50",
    "at": "73.44",
    "nst": "73.30",
    "pkt": "73.64",
    "sp": "72.94",
    "cc": "72.97",
    "vid": "73.09",
    "rkd": "71.90 / 71.55",
    "crd": "75.51 / 75.45",
    "rrd": "74.48",
    "rdd": "75.58",
    "kd sampler.kind=rdx": "59.49",
    "kd sampler.kind=curriculum": "72.96",
}
NOTE = (
    "Published accuracies are after 240 epochs: Tian et al. (2020), RepDistiller's table; after the slash, and for rdd "
    "and the samplers, Irakiza & Mugisha (2026); rrd: Giakoumoglou & Stathaki (2024). Irakiza & Mugisha's are means of "
    "5 runs by their text, but single runs by the logs of their release, which has no log of rdd's 75.58. Those of "
    "kd_standardized, dkd, dist and ttm are from their papers and releases, at the epoch with the best test accuracy; "
    "the log of kd_standardized ends at 76.28."
)
# The configuration files, and the authors' names, of runs that are KD with another sampler.
_SAMPLERS = {"rdd_sampling": "kd sampler.kind=rdx", "rdd_curriculum": "kd sampler.kind=curriculum"}


def canonical_label(label: str) -> str:
    """Returns the key of `ACCURACIES` for a run's label or for the authors' name of it."""
    return _SAMPLERS.get(label, label)


def read_curves(path: Path) -> dict[str, dict[int, float]]:
    """Reads test accuracies in percent, by method and epoch, from a CSV with the columns method, epoch, metric, value.

    Lines with another metric than test_acc are skipped.

    Raises:
        UserError: the file cannot be read, or has no test accuracies; the message names it.
    """
    curves: dict[str, dict[int, float]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if line["metric"] == "test_acc":
                    curves.setdefault(line["method"], {})[int(line["epoch"])] = float(line["value"])
    except KeyError as error:
        raise UserError(f"{path} has no column {error}: it needs method, epoch, metric and value") from None
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as published curves: {error}") from None
    if not curves:
        raise UserError(f"{path} has no line whose metric is test_acc: give a file of test accuracies")
    return curves
