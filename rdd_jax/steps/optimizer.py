"""Optimizers of optax by name, and their learning rates."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.options import check_numbers, check_values, plain_arguments
from rdd_jax.core.types import Array

SCHEDULES = ("step", "cosine", "constant")


@dataclass(frozen=True)
class RecipeOptions:
    """The learning rate, the momentum and the weight decay: keys at the top level of a configuration.

    learning_rate: the largest learning rate, above 0.
    milestones: the shares of the epochs, in (0, 1), after each of which schedule "step" multiplies the learning rate.
    learning_rate_factor: the factor of that multiplication, above 0.
    warmup_epochs: the epochs over which the learning rate rises linearly from 0; fractions are allowed.
    momentum: of "sgd", in [0, 1).
    weight_decay: the factor of the parameters that is added to their gradient (coupled decay), unless the optimizer
        has a weight decay of its own, as adamw has.

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


@dataclass(frozen=True)
class OptimizerOptions:
    """The optimizer and its schedule: the section `optimizer` of a configuration.

    name: a function of optax that makes an optimizer, as in "adamw" or "lion". "sgd" is torch.optim.SGD.
    kwargs: its arguments beside the learning rate, by name: text, numbers, True, False, None, and tuples of these.
    schedule: "step" multiplies the learning rate at milestones, "cosine" lowers it to 0 along half a cosine,
        "constant" leaves it.
    gradient_clip: the largest norm of the gradient of all parameters together, to which it is scaled; 0 for no limit.
    decay_all: whether weight decay also applies to parameters of one axis: biases, and scales of normalisations.
    ema: the decay of the exponential moving average of the student's weights, in [0, 1), as in 0.999; 0 for none. The
        average is evaluated, exported and loaded as the student; see `weight_average.update_average`.

    Raises:
        TypeError: for arguments of another type.
        ValueError: for a value out of its range.
    """

    name: str = "sgd"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "step"
    gradient_clip: float = 0.0
    decay_all: bool = True
    ema: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "optimizer")
        object.__setattr__(self, "kwargs", plain_arguments("optimizer.kwargs", self.kwargs))
        check_values(self.kwargs, "optimizer.kwargs", {})
        if self.schedule not in SCHEDULES:
            raise ValueError(unknown_name_message("optimizer.schedule", self.schedule, SCHEDULES))
        if self.gradient_clip < 0:
            raise ValueError(f"optimizer.gradient_clip must not be negative; got {self.gradient_clip}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"optimizer.ema must be in [0, 1); got {self.ema}")


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


def cosine_schedule(learning_rate: float, *, steps: int, warmup_steps: int = 0) -> optax.Schedule:
    """Makes a learning rate that falls to 0 along half a cosine over `steps`, after a linear warm-up.

    Returns:
        step i32[] -> learning rate f32[].
    """

    def schedule(step: ArrayLike) -> Array:
        step = jnp.asarray(step)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0)))
        return learning_rate * cosine * jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))

    return schedule


def make_optimizer(
    options: OptimizerOptions, schedule: optax.Schedule, *, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """Makes an optimizer of optax, with gradient clipping and weight decay.

    The defaults are torch.optim.SGD: the decay of all parameters is added to the gradient before the momentum.

    Args:
        options: of the optimizer.
        schedule: step i32[] -> learning rate f32[].
        momentum: of "sgd".
        weight_decay: of an optimizer that has its own, as adamw; else added to the gradient.

    Raises:
        ValueError: for a name that is no optimizer of optax, or an argument that it does not take.
    """
    factory, parameters = _find_optimizer(options.name)
    if unknown := sorted(options.kwargs.keys() - parameters):
        raise ValueError(unknown_name_message(f"argument of optax.{options.name}", unknown[0], sorted(parameters)))
    mask = None if options.decay_all else _has_several_axes
    kwargs, before = dict(options.kwargs), []
    if options.gradient_clip:
        before.append(optax.clip_by_global_norm(options.gradient_clip))
    if "weight_decay" in parameters:
        kwargs = {"weight_decay": weight_decay, **({"mask": mask} if mask else {}), **kwargs}
    else:
        before.append(optax.add_decayed_weights(weight_decay, mask))
    if options.name == "sgd":
        kwargs = {"momentum": momentum, **kwargs}
    return optax.chain(*before, factory(schedule, **kwargs))


def _find_optimizer(name: str) -> tuple[Callable[..., optax.GradientTransformation], set[str]]:
    """Finds a function of optax that takes a learning rate first; returns it with the names of its other arguments."""
    found = {each: list(inspect.signature(value).parameters) for each, value in _optax_functions().items()}
    names = [each for each, parameters in found.items() if parameters[:1] == ["learning_rate"] and each not in _OTHERS]
    if name not in names:
        raise ValueError(unknown_name_message("optimizer.name", name, names))
    return getattr(optax, name), set(found[name][1:])


# A line search, which needs the loss as a function of the parameters, and parts of optimizers.
_OTHERS = ("lbfgs", "scale_by_learning_rate", "scale_by_rprop")


def _optax_functions() -> dict[str, Callable[..., Any]]:
    return {name: value for name, value in vars(optax).items() if inspect.isfunction(value) and name[0] != "_"}


def _has_several_axes(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def set_schedule_count(state: optax.OptState, step: Array) -> optax.OptState:
    """Sets the number of updates i32[] by which the learning rate goes, which does not count skipped updates itself."""
    return optax.tree_utils.tree_set(state, count=step)
