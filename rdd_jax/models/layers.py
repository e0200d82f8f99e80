"""What the networks share: torch's padding, initialisation and the batch norm of the CIFAR papers.

All networks start by one rule: `conv_init` and `linear_init`, biases of convolutions at zero. RepDistiller departs from
it in places (the linear layers of wrn, vgg and mobilenetv2, the convolutions of the ShuffleNets).

A submodule is named as in RepDistiller's PyTorch state_dict, "_" for ".": the parameters of `layer1.0.conv1` are
`params["layer1_0"]["conv1"]`. So the names along a path, joined, are torch's, and weights go from one to the other.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Normal with variance 2 / (k * k * out), in groups or not: torch's kaiming_normal_(mode="fan_out").
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# U(+-1/sqrt(fan_in)): torch's default of a linear layer.
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def conv(
    features: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    use_bias: bool = False,
    dtype: Any,
    name: str,
) -> nn.Conv:
    """A convolution, padded as torch pads: (kernel - 1) / 2 on every side, at any stride."""
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=(stride, stride),
        padding=(kernel - 1) // 2,
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=conv_init,
        dtype=dtype,
        name=name,
    )


def batch_norm(train: bool, axis_name: str | None, *, dtype: Any, name: str) -> nn.BatchNorm:
    """Batch norm over the global batch: statistics are averaged over `axis_name` (torch's momentum 0.1 is 0.9 here)."""
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, axis_name=axis_name, dtype=dtype, name=name)


def classifier(embedding: jax.Array, num_classes: int, *, name: str) -> jax.Array:
    """The last linear layer, in float32: f32[b,d] -> logits f32[b,classes]. Call it inside a compact method."""
    bound = embedding.shape[-1] ** -0.5

    def bias_init(rng, shape, dtype=jnp.float32):
        return jax.random.uniform(rng, shape, dtype, -bound, bound)

    return nn.Dense(num_classes, kernel_init=linear_init, bias_init=bias_init, name=name)(embedding)
