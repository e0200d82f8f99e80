"""The forward pass of a network."""

from typing import Any, cast

import flax.linen as nn

from rdd_jax.core.types import Array, ModelOutput


def forward(model: nn.Module, variables: dict[str, Any], inputs: Array) -> ModelOutput:
    """Runs a network in evaluation mode.

    Args:
        model: the network.
        variables: {"params", "batch_stats"}.
        inputs: normalised images f32[b,h,w,c].
    """
    return cast(ModelOutput, model.apply(variables, inputs, train=False))


def forward_train(model: nn.Module, variables: dict[str, Any], inputs: Array) -> tuple[ModelOutput, dict[str, Any]]:
    """Runs a network in training mode; returns its output and {"batch_stats"} with the new running averages.

    Arguments as of `forward`.
    """
    output, updates = cast(tuple[Any, Any], model.apply(variables, inputs, train=True, mutable=["batch_stats"]))
    return output, updates
