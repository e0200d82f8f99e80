"""Knowledge distillation in JAX: pure losses, and methods as small values that compose."""

__version__ = "0.1.0"
