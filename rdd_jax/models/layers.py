"""Layers shared by the networks: convolution, batch norm and classifier, padded and initialised as in PyTorch.

All networks are initialised by `conv_init` and `linear_init`, with zero biases of convolutions. RepDistiller differs
in the linear layers of wrn, vgg and mobilenetv2 and in the convolutions of the ShuffleNets.

A submodule has the name of its counterpart in RepDistiller's PyTorch state dict, with "_" for ".": the parameters of
`layer1.0.conv1` are `params["layer1_0"]["conv1"]`. `torch_state_dict` converts weights by these names.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

# Normal with variance 2 / (k * k * out), also for grouped convolutions: PyTorch's kaiming_normal_(mode="fan_out").
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# Uniform in +-1/sqrt(fan_in): PyTorch's default for linear layers.
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def conv(
    features: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    use_bias: bool = False,
    dtype: DTypeLike,
    name: str,
) -> nn.Conv:
    """Makes a convolution that is padded as in PyTorch: by (kernel - 1) / 2 on every side, at any stride."""
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


def batch_norm(train: bool, axis_name: str | None, *, dtype: DTypeLike, name: str) -> nn.BatchNorm:
    """Makes a batch norm with statistics averaged over `axis_name`. PyTorch's momentum of 0.1 is 0.9 in Flax."""
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, axis_name=axis_name, dtype=dtype, name=name)


def classifier(embedding: jax.Array, num_classes: int, *, name: str) -> jax.Array:
    """Applies the last linear layer, in float32: f32[b,d] -> logits f32[b,classes]. Call it inside a compact method."""
    bound = embedding.shape[-1] ** -0.5

    def bias_init(rng: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        return jax.random.uniform(rng, shape, dtype, -bound, bound)

    return nn.Dense(num_classes, kernel_init=linear_init, bias_init=bias_init, name=name)(embedding)
