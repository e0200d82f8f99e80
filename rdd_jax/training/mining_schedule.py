"""The decision when the training set is mined: by time, or by how far the student has drifted since."""

from collections.abc import Mapping

from rdd_jax.core.types import Array
from rdd_jax.steps.mining import MiningOptions


class MiningSchedule:
    """Decides before which epochs the training set is mined.

    Args:
        options: the section `mining` of the configuration.

    Attributes:
        num_probes: the number of training images by which drift is measured; 0 where drift decides nothing.
    """

    def __init__(self, options: MiningOptions):
        self._options = options
        self.num_probes = options.probe if options.kind == "adaptive" else 0

    def needs_drift(self, epoch: int) -> bool:
        """Returns True where drift decides whether to mine before epoch `epoch` (from 0)."""
        return self._options.kind == "adaptive" and epoch > self._options.start_epoch

    def due(self, epoch: int, drift: Mapping[str, Array] | None = None) -> bool:
        """Returns True where the training set is mined before epoch `epoch` (from 0).

        Args:
            epoch: the epoch. All kinds mine before `start_epoch`. After it "once" never mines, "every" mines every
                `epochs` epochs, and "adaptive" mines when any value of `drift` has reached `threshold`.
            drift: the values of `rdx.drift.measure_drift`, needed where `needs_drift(epoch)`.
        """
        options, since = self._options, epoch - self._options.start_epoch
        if since <= 0:
            return since == 0
        if options.kind == "every":
            return since % options.epochs == 0
        if options.kind == "adaptive":
            if drift is None:
                raise ValueError(f"kind=adaptive needs the drift before epoch {epoch}")
            return bool(max(drift.values()) >= options.threshold)
        return False
