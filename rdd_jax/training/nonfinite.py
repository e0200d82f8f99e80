"""The treatment of a loss or a state that is not finite, and the rollback to an earlier checkpoint."""

import numpy as np

from rdd_jax.core import devices
from rdd_jax.core.errors import TrainingDiverged
from rdd_jax.core.processes import warn
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.runs.config import NonFinitePolicy
from rdd_jax.steps import train_state
from rdd_jax.steps.optimizer import set_schedule_count
from rdd_jax.steps.train_state import TrainState


class NonFiniteError(Exception):
    """The loss of update `step`, or an array of the state after it, is not finite."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


class NonFiniteHandler:
    """Returns a run to its last checkpoint, or ends it, when its loss or state is not finite.

    Args:
        policy: a `NonFinitePolicy`, or its value.
        checkpoints: of the run.
        last_step: the number of updates of the whole run.
    """

    def __init__(self, policy: str, checkpoints: Checkpoints, last_step: int):
        self._policy = NonFinitePolicy(policy)
        self._checkpoints = checkpoints
        self._last_step = last_step
        self._rolled_back = False

    def note_checkpoint(self) -> None:
        """Allows another rollback, as a finite state has been saved since the last one."""
        self._rolled_back = False

    def last_good_state(self, shapes: TrainState, step: int) -> TrainState:
        """Returns the state of the last checkpoint.

        Args:
            shapes: the shapes of the state.
            step: the update at which loss or state were found not to be finite.

        Raises:
            TrainingDiverged: where the policy is not to roll back, there is no checkpoint, the run is at its end, or no
                finite state was saved since the last rollback.
        """
        may_roll_back = self._policy == NonFinitePolicy.ROLLBACK and not self._rolled_back and step < self._last_step
        good = self._checkpoints.restore(shapes) if may_roll_back else None
        if good is None:
            raise TrainingDiverged(self._message(step))
        self._rolled_back = True
        warn(f"not finite by update {step:,}: going on from there with the weights of update {int(good.step):,}")
        return good

    def _message(self, step: int) -> str:
        again = "again " if self._rolled_back else ""
        saved = self._checkpoints.steps()
        last = f"the last good checkpoint is of update {saved[-1]:,}" if saved else "there is no good checkpoint yet"
        policies = ", or --config.nonfinite to skip or rollback" if self._policy == NonFinitePolicy.STOP else ""
        return (
            f"loss or weights are {again}not finite by update {step:,}, and {last}: set a lower "
            f"--config.learning_rate{policies}, and another --workdir"
        )


def continue_at(state: TrainState, step: int) -> TrainState:
    """Returns an earlier state as that after `step` updates, with nothing counted in its metrics yet.

    The updates in between are not repeated: with the same batches they would end at the same numbers.
    """
    # Two arrays, as both are donated to the next call.
    state_step, schedule_step = (devices.replicate(np.int32(step)) for _ in range(2))
    optimizer = set_schedule_count(state.optimizer, schedule_step)
    return train_state.reset_metrics(state)._replace(step=state_step, optimizer=optimizer)
