"""Networks by name, their variables and cost, and weights from and to PyTorch."""

from rdd_jax.models.flops import count_multiply_adds, count_parameters
from rdd_jax.models.registry import DTYPES, MODELS, create, init, variable_shapes

__all__ = ["DTYPES", "MODELS", "count_multiply_adds", "count_parameters", "create", "init", "variable_shapes"]
