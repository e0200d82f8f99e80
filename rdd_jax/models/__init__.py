"""Networks by name, their variables and their cost, and weights of PyTorch."""

from rdd_jax.models.flops import count_multiply_adds, count_parameters
from rdd_jax.models.registry import DTYPES, MODELS, create, init, variable_shapes

__all__ = ["DTYPES", "MODELS", "count_multiply_adds", "count_parameters", "create", "init", "variable_shapes"]
