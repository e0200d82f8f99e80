"""Losses of feature maps: hints, attention transfer, neuron selectivity, variational information.

Maps of unequal size are average-pooled to the smaller height and width.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize

_HIGHEST = jax.lax.Precision.HIGHEST


def match_sizes(student_map: Array, teacher_map: Array) -> tuple[Array, Array]:
    """Average-pools two maps [b,h,w,c] of any float dtype to the smaller height and the smaller width.

    Sizes need not be multiples of each other: the windows are those of PyTorch's adaptive pooling.

    Returns:
        The maps in float32; no gradient flows to the teacher's.

    Raises:
        ValueError: if they are not maps of the same batch.
    """
    if student_map.ndim != 4 or teacher_map.ndim != 4 or len(student_map) != len(teacher_map):
        raise ValueError(f"needs feature maps [b,h,w,c] of one batch; got {student_map.shape} and {teacher_map.shape}")
    smaller = np.minimum(student_map.shape[1:3], teacher_map.shape[1:3])
    return _pool(student_map, *smaller), jax.lax.stop_gradient(_pool(teacher_map, *smaller))


def hint(student: Array, teacher: Array) -> Array:
    """Computes the mean squared error between the student's adapted map and the teacher's (Romero et al. 2015, eq. 3).

    Args:
        student: f32[...], after the adapter.
        teacher: f32[...], of the same shape; no gradient flows to it.

    Returns:
        f32[], the mean over all entries.

    Raises:
        ValueError: if the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"hint needs equal shapes; got {student.shape} and {teacher.shape}")
    return jnp.mean(jnp.square(student.astype(jnp.float32) - jax.lax.stop_gradient(teacher).astype(jnp.float32)))


def attention_transfer(student_map: Array, teacher_map: Array, power: int = 2) -> Array:
    """Computes the mean squared error between normalised attention maps (Zagoruyko & Komodakis 2017, eq. 2).

    Args:
        student_map: f[b,h,w,c].
        teacher_map: f[b,h,w,c], of any size and number of channels; no gradient flows to it.
        power: to which activations are raised before the mean over channels; even, so that signs do not cancel.

    Returns:
        f32[], the mean over positions and rows.

    Raises:
        ValueError: if they are not maps of the same batch.
    """
    student, teacher = (_attention(x, power) for x in match_sizes(student_map, teacher_map))
    return jnp.mean(jnp.square(student - teacher))


def neuron_selectivity(student_map: Array, teacher_map: Array) -> Array:
    """Computes the squared MMD between the channels' activation patterns, kernel (x . y)^2 (Huang & Wang 2017).

    Args:
        student_map: f[b,h,w,cs].
        teacher_map: f[b,h,w,ct], of any size; no gradient flows to it.

    Returns:
        f32[], the mean over rows.

    Raises:
        ValueError: if they are not maps of the same batch.
    """
    student, teacher = (_channels(x) for x in match_sizes(student_map, teacher_map))
    return _kernel(teacher, teacher) + _kernel(student, student) - 2.0 * _kernel(student, teacher)


def variational_information(mean: Array, variance: Array, teacher_map: Array) -> Array:
    """Computes the negative log-likelihood, up to a constant, of the teacher's map under Gaussians (Ahn et al. 2019).

    Args:
        mean: f32[b,h,w,c], predicted from the student's map.
        variance: f32[c], > 0.
        teacher_map: f32[b,h,w,c]; no gradient flows to it.

    Returns:
        f32[], the mean over all entries, in nats.

    Raises:
        ValueError: if the shapes do not match.
    """
    if mean.shape != teacher_map.shape or variance.shape != mean.shape[-1:]:
        raise ValueError(
            "variational_information needs mean and teacher_map [b,h,w,c] and variance [c]; "
            f"got {mean.shape}, {teacher_map.shape}, {variance.shape}"
        )
    mean, variance = mean.astype(jnp.float32), variance.astype(jnp.float32)
    squared = jnp.square(mean - jax.lax.stop_gradient(teacher_map).astype(jnp.float32))
    return 0.5 * jnp.mean(squared / variance + jnp.log(variance))


def _pool(x: Array, height: int, width: int) -> Array:
    """Average-pools [b,h,w,c] to f32[b,height,width,c]."""
    x = x.astype(jnp.float32)
    for axis, size in ((1, height), (2, width)):
        if x.shape[axis] != size:
            averaged = jnp.tensordot(_averaging(x.shape[axis], size), x, (1, axis), precision=_HIGHEST)
            x = jnp.moveaxis(averaged, 0, axis)
    return x


def _averaging(inputs: int, outputs: int) -> np.ndarray:
    """Makes f32[outputs,inputs]: row i averages the inputs from floor(i * inputs / outputs) to ceil((i + 1) * ...)."""
    first = np.arange(outputs) * inputs // outputs
    end = -(-np.arange(1, outputs + 1) * inputs // outputs)
    position = np.arange(inputs)
    inside = (position >= first[:, None]) & (position < end[:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def _attention(x: Array, power: int) -> Array:
    """Computes the attention maps of f32[b,h,w,c] as unit vectors f32[b,h*w]."""
    # Scaling does not change the unit vector, but keeps the power from overflow and underflow.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(1, 2, 3), keepdims=True))
    scaled = x / jnp.where(largest > 0.0, largest, 1.0)
    return l2_normalize(jnp.mean(scaled**power, axis=-1).reshape(len(x), x.shape[1] * x.shape[2]))


def _channels(x: Array) -> Array:
    """Normalises the h*w activations of each channel of f32[b,h,w,c] to a unit vector: f32[b,c,h*w]."""
    return l2_normalize(jnp.moveaxis(x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[3]), 1, 2))


def _kernel(rows: Array, columns: Array) -> Array:
    """Averages (x . y)^2 over the pairs of channels of each image and over the batch, of f32[b,c,h*w] each."""
    images, channels, positions = rows.shape
    if positions < channels:
        # The same sum by products of positions, of which deep maps have few, and thousands of channels.
        products = [jnp.einsum("bip,biq->bpq", x, x, precision=_HIGHEST) for x in (rows, columns)]
        return jnp.sum(products[0] * products[1]) / (images * channels * columns.shape[1])
    return jnp.mean(jnp.square(jnp.einsum("bip,bjp->bij", rows, columns, precision=_HIGHEST)))
