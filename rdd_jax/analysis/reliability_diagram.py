"""The reliability diagram of a run: accuracy against confidence, of student and teacher."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdd_jax.analysis.plots import STYLE, png

_COLORS = {"student": "#0072B2", "teacher": "#E69F00"}
_CAPTION = (
    "Left: accuracy against mean confidence (the largest probability) of the test images in each of {bins} bins of "
    "confidence; the size of a dot grows with the share of the images. A network is calibrated on the dashed line and "
    "overconfident below it. Right: the shares of the bins; one with few images says little."
)


def draw(networks: Mapping[str, Mapping[str, Any]]) -> tuple[bytes, str]:
    """Draws the reliability diagram.

    Args:
        networks: by "student" and "teacher", each with "counts", "confidences" and "accuracies" by bin, as
            `calibration.as_json` returns them.

    Returns:
        (content of the PNG file, caption).
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="#999999", linestyle=(0, (5, 3)), linewidth=1.2)
        for place, (role, bins) in enumerate(networks.items()):
            shares = np.array(bins["counts"]) / sum(bins["counts"])
            _draw_accuracies(left, role, bins, shares)
            width = 1 / len(shares) / len(networks)
            starts = np.arange(len(shares)) / len(shares) + place * width
            right.bar(starts, 100 * shares, 0.9 * width, align="edge", color=_COLORS[role], label=role)
        left.set(title="Accuracy", xlabel="Confidence", xlim=(0, 1.03), ylim=(0, 1.03))
        right.set(title="Share of the images (%)", xlabel="Confidence", xlim=(0, 1.03))
        right.set_axisbelow(True)
        right.legend(loc="upper left")
        return png(figure), _CAPTION.format(bins=len(shares))


def _draw_accuracies(axis: Axes, role: str, bins: Mapping[str, Any], shares: np.ndarray) -> None:
    """Draws the bins that have images as dots joined by a line."""
    points = np.array([bins["confidences"], bins["accuracies"]], dtype=float)
    found = shares > 0
    axis.plot(*points[:, found], color=_COLORS[role], linewidth=1, alpha=0.35)
    axis.scatter(
        *points[:, found], s=15 + 285 * shares[found], color=_COLORS[role], alpha=0.7, linewidths=0, clip_on=False
    )
