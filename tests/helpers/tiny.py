"""A training set of 24 examples and one batch of two networks' outputs: small enough for every method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax import methods
from rdd_jax.core.types import Batch, ModelOutput

EXAMPLES, ROWS, CLASSES = 24, 8, 4
LABELS = (np.arange(EXAMPLES) % CLASSES).astype(np.int32)
BATCH = Batch(np.zeros((ROWS, 1, 1, 1), np.float32), LABELS[::3], np.arange(0, EXAMPLES, 3, dtype=np.int32))
SMALL = {"dim": 4, "num_negatives": 12, "pool_size": 5}
# Of the whole training set, to be mined.
EMBEDDINGS = np.random.default_rng(7).normal(size=(2, EXAMPLES, 6)).astype(np.float32)


def outputs(seed, width, dtype=np.float32, *, side=16, depth=4):
    """What a network of that width might return for the batch; logits are float32 whatever the rest is."""

    def normal(*shape, dtype=dtype):
        return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=(ROWS, *shape)), dtype)

    maps = tuple(normal(max(side >> i, 1), max(side >> i, 1), width + i) for i in range(depth))
    return ModelOutput(normal(CLASSES, dtype=np.float32), normal(width), maps)


def teacher_outputs(dtype=np.float32):
    """Of a network that is wider, deeper and sees larger maps, whose sizes are no multiples of the student's."""
    return outputs(1, 10, dtype, side=35, depth=5)


STUDENT, TEACHER = outputs(0, 6), teacher_outputs()


@functools.cache
def create(name, **options):
    """The method of that name, with small banks and few negatives unless chosen otherwise."""
    small = {key: value for key, value in SMALL.items() if key in methods.options(name)}
    return methods.create(name, LABELS, **small | options)


def start(distiller):
    """-> (params, state)."""
    return distiller.init(jax.random.key(0), STUDENT, TEACHER)


def refreshed(distiller):
    """-> (params, state), mined where the method does so."""
    params, state = start(distiller)
    if distiller.refresh:
        state = distiller.refresh(state, *EMBEDDINGS, jax.random.key(0), axis_name=None)
    return params, state


def evaluate(distiller, params, state, student=STUDENT, teacher=TEACHER, *, batch=BATCH, seed=0, axis_name=None):
    """-> (loss, gradients of params and of the student's outputs, state, metrics) of the global batch."""

    def loss(params, student):
        rng = jax.random.key(seed)
        return distiller.loss(params, state, student, teacher, batch, rng=rng, axis_name=axis_name)

    (value, (state, metrics)), (heads, rows) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, student)
    if axis_name is not None:
        value, metrics, heads = jax.lax.pmean((value, metrics, heads), axis_name)
        rows = jax.tree.map(lambda x: x / jax.lax.axis_size(axis_name), rows)  # As pmean does to the parameters'.
        rows = jax.lax.all_gather(rows, axis_name, tiled=True)
    return value, (heads, rows), state, metrics


@functools.cache
def compiled(distiller):
    """`evaluate` of that distiller, compiled once for all tests."""
    return jax.jit(functools.partial(evaluate, distiller))
