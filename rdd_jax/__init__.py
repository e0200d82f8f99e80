"""Knowledge distillation in JAX: pure losses, methods as values that compose, and the program around them.

    import rdd_jax
    distiller = rdd_jax.methods.weighted_sum({"ce": (1.0, rdd_jax.methods.ce()), "kd": (0.9, rdd_jax.methods.kd())})

The names of `__all__` are the public interface. Each is imported when it is first used: `import rdd_jax` takes no time.
`distill`, `evaluate` and `load` need the packages of the extra `train`.
`docs/library.md` also lists the modules of the program that its pages describe.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdd_jax import losses, memory, methods, models, rdx
    from rdd_jax.core.types import Batch, Distiller, ModelOutput
    from rdd_jax.runs.trained_models import evaluate, load
    from rdd_jax.training.distill import Result, distill

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Distiller",
    "ModelOutput",
    "Result",
    "__version__",
    "distill",
    "evaluate",
    "load",
    "losses",
    "memory",
    "methods",
    "models",
    "rdx",
]

_MODULES = ("losses", "memory", "methods", "models", "rdx")
_HOMES = {
    **dict.fromkeys(("Batch", "Distiller", "ModelOutput"), "rdd_jax.core.types"),
    **dict.fromkeys(("evaluate", "load"), "rdd_jax.runs.trained_models"),
    **dict.fromkeys(("Result", "distill"), "rdd_jax.training.distill"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"rdd_jax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rdd_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
