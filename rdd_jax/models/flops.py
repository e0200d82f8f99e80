"""The cost of a network: parameters and multiply-adds."""

import math
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp


def count_parameters(variables: dict[str, Any]) -> int:
    """Counts the trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def count_multiply_adds(model: nn.Module, variables: dict[str, Any], image_shape: tuple[int, int, int]) -> int:
    """Counts the multiply-adds of the convolutions and matrix products in the forward pass of one image.

    Products with padding count, as in the literature; XLA's own estimate leaves them out. Nothing is compiled.

    Args:
        model: as of `create`.
        variables: arrays or shapes.
        image_shape: (height, width, channels).
    """
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return _multiply_adds(jax.make_jaxpr(partial(model.apply, train=False))(variables, image).jaxpr)


def _multiply_adds(jaxpr: jax.extend.core.Jaxpr) -> int:
    """Sums the cost of the equations, with those of inner functions."""
    return sum(_equation_cost(equation) for equation in jaxpr.eqns) + sum(
        _multiply_adds(inner) for inner in jax.extend.core.subjaxprs(jaxpr)
    )


def _equation_cost(equation: jax.extend.core.JaxprEqn) -> int:
    """Counts the multiply-adds of a convolution or matrix product; 0 for other operations."""
    if equation.primitive.name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])
        outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // outputs
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        lengths = [_shape(equation.invars[0])[axis] for axis in contracted]
        return math.prod(_shape(equation.outvars[0])) * math.prod(lengths)
    return 0


def _shape(variable: jax.extend.core.Var | jax.extend.core.Literal) -> tuple[int, ...]:
    """Returns the shape of an equation's input or output."""
    return cast(jax.core.ShapedArray, variable.aval).shape
