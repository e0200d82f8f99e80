"""Stochastic gradient descent with momentum, coupled weight decay and a stepped learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from rdd_jax.core.options import check_numbers
from rdd_jax.core.types import Array


@dataclass(frozen=True)
class OptimizerOptions:
    """Stochastic gradient descent with momentum and a stepped learning rate: keys at the top level of a configuration.

    learning_rate: the learning rate before the first milestone, above 0.
    milestones: the shares of the epochs, in (0, 1), after each of which the learning rate is multiplied.
    learning_rate_factor: the factor of that multiplication, above 0.
    warmup_epochs: the epochs over which the learning rate rises linearly from 0; fractions are allowed.
    momentum: in [0, 1).
    weight_decay: the factor of the parameters that is added to their gradient (coupled decay).

    Raises:
        ValueError: for a value out of its range.
    """

    learning_rate: float = 0.05
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    learning_rate_factor: float = 0.1
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_numbers(self, "")
        for key in ("learning_rate", "learning_rate_factor"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0; got {getattr(self, key)}")
        for key in ("weight_decay", "warmup_epochs"):
            if not getattr(self, key) >= 0:
                raise ValueError(f"{key} must not be negative; got {getattr(self, key)}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); got {self.momentum}")
        if not all(isinstance(share, float) and 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones are shares of the epochs, as in (0.5, 0.75); got {self.milestones}")


def stepped_schedule(
    learning_rate: float, *, milestones: Sequence[int], factor: float = 0.1, warmup_steps: int = 0
) -> optax.Schedule:
    """Makes a learning rate that falls at milestones, after a linear warm-up.

    Args:
        learning_rate: before the first milestone.
        milestones: the steps from each of which on the learning rate is multiplied by `factor`. A milestone that is
            named twice counts twice, as in torch's MultiStepLR and unlike optax's piecewise schedules.
        factor: of each milestone.
        warmup_steps: the number of steps over which the learning rate rises from 0.

    Returns:
        step i32[] -> learning rate f32[].
    """

    def schedule(step: ArrayLike) -> Array:
        step = jnp.asarray(step)
        passed = jnp.sum(step >= jnp.array(milestones, jnp.int32))
        return learning_rate * factor**passed * jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))

    return schedule


def sgd(schedule: optax.Schedule, *, momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """Makes torch.optim.SGD: the decay of all parameters is added to the gradient before the momentum."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum=momentum))


def set_schedule_count(state: optax.OptState, step: Array) -> optax.OptState:
    """Sets the number of updates i32[] by which the learning rate goes, which does not count skipped updates itself."""
    return optax.tree_utils.tree_set(state, count=step)
