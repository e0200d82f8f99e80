"""Networks by name and of the user's own, their variables and cost, and weights from and to PyTorch."""

from rdd_jax.models.create_network import check_network, create_network
from rdd_jax.models.flops import count_multiply_adds, count_parameters
from rdd_jax.models.linen_network import as_network, from_linen
from rdd_jax.models.network import Network, synchronized
from rdd_jax.models.nnx_network import from_nnx
from rdd_jax.models.registry import DTYPES, MODELS, create, init, variable_shapes

__all__ = [
    "DTYPES",
    "MODELS",
    "Network",
    "as_network",
    "check_network",
    "count_multiply_adds",
    "count_parameters",
    "create",
    "create_network",
    "from_linen",
    "from_nnx",
    "init",
    "synchronized",
    "variable_shapes",
]
