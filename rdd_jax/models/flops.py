"""The cost of a network: parameters and multiply-adds."""

import math
from typing import cast

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp

from rdd_jax.models.linen_network import as_network
from rdd_jax.models.network import Network, Variables


def count_parameters(variables: Variables) -> int:
    """Counts the trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def count_multiply_adds(network: Network | nn.Module, variables: Variables, image_shape: tuple[int, ...]) -> int | None:
    """Counts the multiply-adds of the convolutions and matrix products in the forward pass of one image.

    Products with padding count, as in the literature; XLA's own estimate leaves them out. Nothing is compiled.

    Args:
        network: the network.
        variables: arrays or shapes.
        image_shape: (height, width, channels).

    Returns:
        The number; None where it depends on the input, as of products in a `jax.lax.while_loop`.
    """
    apply = as_network(network).apply
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    count = _multiply_adds(jax.make_jaxpr(lambda *inputs: apply(*inputs, train=False)[0])(variables, image).jaxpr)
    return int(count) if math.isfinite(count) else None


def _multiply_adds(jaxpr: jax.extend.core.Jaxpr) -> float:
    """Sums the cost of the equations; NaN where it depends on the input."""
    return sum(_equation_cost(equation) for equation in jaxpr.eqns)


def _equation_cost(equation: jax.extend.core.JaxprEqn) -> float:
    """Counts the multiply-adds of a convolution or matrix product, or those of inner functions; 0 for the rest."""
    name = equation.primitive.name
    if name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])
        outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // outputs
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        lengths = [_shape(equation.invars[0])[axis] for axis in contracted]
        return math.prod(_shape(equation.outvars[0])) * math.prod(lengths)
    costs = [_multiply_adds(inner) for inner in jax.extend.core.jaxprs_in_params(equation.params)]
    if name == "while":
        return math.nan if any(costs) else 0
    if name == "cond":
        return max(costs)
    return sum(costs) * (equation.params["length"] if name == "scan" else 1)


def _shape(variable: jax.extend.core.Var | jax.extend.core.Literal) -> tuple[int, ...]:
    """Returns the shape of an equation's input or output."""
    return cast(jax.core.ShapedArray, variable.aval).shape
