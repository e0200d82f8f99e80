"""Knowledge distillation in JAX: pure losses, and methods as small values that compose."""
