"""The optimizer of the recipe: SGD with momentum, coupled weight decay and a stepped learning rate."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax

from rdd_jax.core.types import Array


def stepped_schedule(
    learning_rate: float, *, milestones: Sequence[int], factor: float = 0.1, warmup_steps: int = 0
) -> optax.Schedule:
    """step i32[] -> learning rate f32[]: times `factor` from each milestone (in steps) on, after a linear warm-up.

    A milestone that stands twice counts twice, as in torch's MultiStepLR and unlike optax's piecewise schedules.
    """

    def schedule(step):
        passed = jnp.sum(step >= jnp.array(milestones, jnp.int32))
        return learning_rate * factor**passed * jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))

    return schedule


def sgd(schedule: optax.Schedule, *, momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """torch.optim.SGD: the decay joins the gradient before the momentum, and spares no parameter."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum=momentum))


def at_step(state: optax.OptState, step: Array) -> optax.OptState:
    """The state of an optimizer, with its schedule at update `step` i32[]: of updates passed over it knows nothing."""
    return optax.tree_utils.tree_set(state, count=step)
