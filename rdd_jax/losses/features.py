"""Losses between feature maps: hints, attention transfer, neuron selectivity, variational information.

Maps of unequal size are average-pooled to the smaller. No gradient flows through the teacher's. Computed in float32
whatever the inputs' dtype; NaN for an empty batch, and where an input is not a number.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.types import Array
from rdd_jax.losses.numerics import l2_normalize

_HIGHEST = jax.lax.Precision.HIGHEST


def match_sizes(student_map: Array, teacher_map: Array) -> tuple[Array, Array]:
    """Average-pools two maps [b,h,w,c] of any float dtype to the smaller height and the smaller width, in float32.

    Sizes need not divide: the windows are those of torch's adaptive pooling.

    Raises:
        ValueError: where they are not maps of the same batch.
    """
    if student_map.ndim != 4 or teacher_map.ndim != 4 or len(student_map) != len(teacher_map):
        raise ValueError(f"needs maps [b,h,w,c] of one batch; got {student_map.shape} and {teacher_map.shape}")
    smaller = np.minimum(student_map.shape[1:3], teacher_map.shape[1:3])
    return _pool(student_map, *smaller), jax.lax.stop_gradient(_pool(teacher_map, *smaller))


def hint(student: Array, teacher: Array) -> Array:
    """Mean squared error between the student's adapted map and the teacher's (Romero et al. 2015, eq. 3).

    Args:
        student: f32[...], after the adapter.
        teacher: f32[...], of the same shape.

    Returns:
        f32[]: mean over all entries.

    Raises:
        ValueError: where the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"hint needs equal shapes; got {student.shape} and {teacher.shape}")
    return jnp.mean(jnp.square(student.astype(jnp.float32) - jax.lax.stop_gradient(teacher).astype(jnp.float32)))


def attention_transfer(student_map: Array, teacher_map: Array, power: int = 2) -> Array:
    """Mean squared error between where two maps are active (Zagoruyko & Komodakis 2017, eq. 2).

    Args:
        student_map: [b,h,w,c].
        teacher_map: [b,h,w,c], of any size and width.
        power: to which activations are raised before the mean over channels; even, so that signs do not cancel.

    Returns:
        f32[]: mean over the places of the smaller map and over the batch.

    Raises:
        ValueError: where they are not maps of the same batch.
    """
    student, teacher = (_attention(x, power) for x in match_sizes(student_map, teacher_map))
    return jnp.mean(jnp.square(student - teacher))


def neuron_selectivity(student_map: Array, teacher_map: Array) -> Array:
    """Squared MMD, polynomial kernel (x . y)^2, between what the channels respond to (Huang & Wang 2017).

    Args:
        student_map: [b,h,w,cs].
        teacher_map: [b,h,w,ct], of any size.

    Returns:
        f32[]: mean over the batch.

    Raises:
        ValueError: where they are not maps of the same batch.
    """
    student, teacher = (_channels(x) for x in match_sizes(student_map, teacher_map))
    return _kernel(teacher, teacher) + _kernel(student, student) - 2.0 * _kernel(student, teacher)


def variational_information(mean: Array, variance: Array, teacher_map: Array) -> Array:
    """Negative log-likelihood, up to a constant, of the teacher's map under a Gaussian (Ahn et al. 2019).

    Args:
        mean: f32[b,h,w,c], what the student's map predicts.
        variance: f32[c], > 0.
        teacher_map: f32[b,h,w,c].

    Returns:
        f32[]: mean over all entries, in nats.

    Raises:
        ValueError: where the shapes do not fit.
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
    x = x.astype(jnp.float32)
    for axis, size in ((1, height), (2, width)):
        if x.shape[axis] != size:
            averaged = jnp.tensordot(_averaging(x.shape[axis], size), x, (1, axis), precision=_HIGHEST)
            x = jnp.moveaxis(averaged, 0, axis)
    return x


def _averaging(inputs: int, outputs: int) -> np.ndarray:
    """f32[outputs,inputs]: row i averages the places from floor(i * inputs / outputs) to ceil((i + 1) * ...)."""
    first = np.arange(outputs) * inputs // outputs
    end = -(-np.arange(1, outputs + 1) * inputs // outputs)
    place = np.arange(inputs)
    inside = (place >= first[:, None]) & (place < end[:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def _attention(x: Array, power: int) -> Array:
    """[b,h,w,c] -> unit vectors f32[b,h*w]."""
    # The scale makes no difference to a unit vector, but all to what its power rounds to.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(1, 2, 3), keepdims=True))
    scaled = x / jnp.where(largest > 0.0, largest, 1.0)
    return l2_normalize(jnp.mean(scaled**power, axis=-1).reshape(len(x), x.shape[1] * x.shape[2]))


def _channels(x: Array) -> Array:
    """[b,h,w,c] -> a unit vector of h*w places for each channel, f32[b,c,h*w]."""
    return l2_normalize(jnp.moveaxis(x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[3]), 1, 2))


def _kernel(rows: Array, columns: Array) -> Array:
    """Mean of (x . y)^2 over the pairs of channels of each image, and over the batch."""
    images, channels, places = rows.shape
    if places < channels:
        # The same sum, by the products of places: deep maps have thousands of channels and a few places.
        products = [jnp.einsum("bip,biq->bpq", x, x, precision=_HIGHEST) for x in (rows, columns)]
        return jnp.sum(products[0] * products[1]) / (images * channels * columns.shape[1])
    return jnp.mean(jnp.square(jnp.einsum("bip,bjp->bij", rows, columns, precision=_HIGHEST)))
