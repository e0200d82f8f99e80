"""The updates after which a run is saved."""

import bisect
import math

import numpy as np


class CheckpointSchedule:
    """Saves a run at regular intervals, counted in epochs.

    Args:
        every_epochs: the epochs between two checkpoints; a fraction saves in the middle of epochs.
        epoch_starts: the first step of each epoch, and the last step of the run.
    """

    def __init__(self, every_epochs: float, epoch_starts: list[int]):
        epochs = len(epoch_starts) - 1
        every = max(every_epochs, 1 / max(np.diff(epoch_starts)))
        passed = every * np.arange(1, int(epochs / every + 1e-9) + 1)
        steps = np.round(np.interp(passed, range(epochs + 1), epoch_starts))
        self._steps: list[int] = np.unique(np.maximum(1, steps)).astype(int).tolist()

    def next_after(self, step: int) -> float:
        """Returns the first of these steps after `step`; infinity where there is none."""
        index = bisect.bisect_right(self._steps, step)
        return self._steps[index] if index < len(self._steps) else math.inf

    def __contains__(self, step: int) -> bool:
        """Returns True where the run is saved after `step` updates."""
        return self.next_after(step - 1) == step
