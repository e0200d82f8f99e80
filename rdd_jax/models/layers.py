"""What the networks share: torch's initialisation and the batch norm of the CIFAR papers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Normal with variance 2 / (k * k * out): torch's kaiming_normal_(mode="fan_out").
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# U(+-1/sqrt(fan_in)): torch's default of a linear layer.
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def conv(features: int, kernel: int, stride: int = 1, *, dtype: Any, name: str) -> nn.Conv:
    """A convolution without bias, padded as torch pads: (kernel - 1) / 2 on every side, at any stride."""
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=(stride, stride),
        padding=(kernel - 1) // 2,
        use_bias=False,
        kernel_init=conv_init,
        dtype=dtype,
        name=name,
    )


def batch_norm(train: bool, axis_name: str | None, *, dtype: Any, name: str) -> nn.BatchNorm:
    """Batch norm over the global batch: statistics are averaged over `axis_name` (torch's momentum 0.1 is 0.9 here)."""
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, axis_name=axis_name, dtype=dtype, name=name)


def classifier(embedding: jax.Array, num_classes: int) -> jax.Array:
    """The last linear layer, in float32: f32[b,d] -> logits f32[b,classes]. Call it inside a compact method."""
    bound = embedding.shape[-1] ** -0.5

    def bias_init(rng, shape, dtype=jnp.float32):
        return jax.random.uniform(rng, shape, dtype, -bound, bound)

    return nn.Dense(num_classes, kernel_init=linear_init, bias_init=bias_init, name="classifier")(embedding)
