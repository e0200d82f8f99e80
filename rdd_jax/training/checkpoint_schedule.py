"""The steps after which a run is saved."""

import bisect
import math

import numpy as np


class CheckpointSteps:
    """The steps at which so many epochs have passed, again and again.

    Args:
        every_epochs: epochs between two checkpoints; a fraction saves in the middle of epochs.
        starts: the first step of each epoch, and the end.
    """

    def __init__(self, every_epochs: float, starts: list[int]):
        epochs = len(starts) - 1
        every = max(every_epochs, 1 / max(np.diff(starts)))
        passed = every * np.arange(1, int(epochs / every + 1e-9) + 1)
        steps = np.round(np.interp(passed, range(epochs + 1), starts))
        self._steps = np.unique(np.maximum(1, steps)).astype(int).tolist()

    def after(self, step: int) -> float:
        """The first of these steps after `step`; infinity where there is none."""
        place = bisect.bisect_right(self._steps, step)
        return self._steps[place] if place < len(self._steps) else math.inf

    def __contains__(self, step: int) -> bool:
        return self.after(step - 1) == step
