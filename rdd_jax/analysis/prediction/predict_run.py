"""The mode `--mode=predict`: writes the predictions for image files as a page and as JSON."""

from collections.abc import Sequence
from pathlib import Path

from rdd_jax.analysis.prediction import page as prediction_page
from rdd_jax.analysis.prediction import predictions as prediction
from rdd_jax.analysis.prediction.page import printable
from rdd_jax.core import processes
from rdd_jax.core.errors import UserError
from rdd_jax.runs import layout
from rdd_jax.runs.config import RunConfig

_MOST_LISTED = 5


def run(workdir: Path, paths: Sequence[str], config: RunConfig | None = None) -> str:
    """Writes the predictions to the folder `predict` in the workdir.

    Args:
        workdir, paths, config: as of `predictions.predict`.

    Returns:
        The text for the terminal: the first predictions, and the path of the page.

    Raises:
        UserError: without paths, or as `predictions.predict`.
    """
    if not paths:
        raise UserError("which images? give them, as in --images=cat.jpg,pictures")
    predictions = prediction.predict(workdir, paths, config)
    page = prediction_page.write(workdir / layout.PREDICTIONS, predictions)
    if predictions.unreadable:
        reasons = [f"{printable(file)} ({printable(reason)})" for file, reason in predictions.unreadable]
        more = f", and {len(reasons) - _MOST_LISTED:,} more on the page" if len(reasons) > _MOST_LISTED else ""
        processes.warn(f"left out what cannot be read: {', '.join(reasons[:_MOST_LISTED])}{more}")
    lines = [
        f"{printable(file)}: {', '.join(f'{name} {100 * probability:.1f}%' for name, probability in classes)}"
        for file, classes in predictions.images[:_MOST_LISTED]
    ]
    if len(predictions.images) > _MOST_LISTED:
        lines.append(f"and {len(predictions.images) - _MOST_LISTED:,} more")
    return "\n".join([*lines, f"page: {page}"])
