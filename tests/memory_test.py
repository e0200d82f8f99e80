"""Banks and queues: what they hold after an update, and that nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS

from rdd_jax import memory
from rdd_jax.losses.contrastive import relational_contrast
from rdd_jax.losses.numerics import l2_normalize
from rdd_jax.methods._contrastive import project


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_momentum_update():
    vectors, embeddings, indices = normal(0, 6, 4), normal(1, 3, 4), np.array([4, 0, 2])
    expected = vectors.copy()
    moved = 0.3 * expected[indices] + 0.7 * embeddings
    expected[indices] = moved / np.linalg.norm(moved, axis=1, keepdims=True)

    for update in (memory.momentum_update, jax.jit(memory.momentum_update)):
        updated = np.asarray(update(vectors, indices, embeddings, 0.3))
        np.testing.assert_allclose(updated, expected, rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(updated[indices], axis=1), 1.0, rtol=1e-6)
        np.testing.assert_array_equal(updated[[1, 3, 5]], vectors[[1, 3, 5]])
    np.testing.assert_array_equal(vectors, normal(0, 6, 4))  # The bank that was passed in is as it was.


def test_of_a_repeated_index_the_last_row_counts():
    vectors, embeddings = normal(0, 6, 4), normal(1, 5, 4)
    updated = memory.momentum_update(vectors, np.array([3, 1, 3, 1, 3]), embeddings, 0.5)
    expected = memory.momentum_update(vectors, np.array([1, 3]), embeddings[3:], 0.5)
    np.testing.assert_array_equal(updated, expected)


def test_bfloat16_embeddings_leave_the_bank_in_float32():
    embeddings = jnp.asarray(normal(1, 3, 4), jnp.bfloat16)
    assert memory.momentum_update(normal(0, 6, 4), np.arange(3), embeddings, 0.5).dtype == "float32"
    queue = memory.init_queue(jax.random.key(0), 5, 4)
    assert memory.enqueue(queue, embeddings).vectors.dtype == "float32"


def test_random_vectors_are_of_about_unit_length():
    bank = memory.init_bank(jax.random.key(0), 500, 64)
    for vectors in bank:
        np.testing.assert_allclose(np.mean(np.square(vectors)) * 64, 1.0, rtol=0.02)  # 32,000 draws: sigma is 0.005.
        assert np.abs(vectors).max() <= (3 / 64) ** 0.5
    assert not np.allclose(bank.student, bank.teacher)


def test_queue_overwrites_the_oldest_rows_and_wraps_around():
    queue = memory.init_queue(jax.random.key(0), 5, 2)
    np.testing.assert_allclose(np.linalg.norm(queue.vectors, axis=1), 1.0, rtol=1e-6)
    start = queue
    for first in (0, 3, 6):  # Nine rows in batches of three.
        queue = jax.jit(memory.enqueue)(queue, np.full((3, 2), first) + np.arange(3.0)[:, None])
    assert queue.vectors[:, 0].tolist() == [5, 6, 7, 8, 4]
    assert queue.cursor == 4
    np.testing.assert_array_equal(start.vectors, memory.init_queue(jax.random.key(0), 5, 2).vectors)


def test_queue_keeps_the_last_rows_of_a_batch_that_is_larger():
    queue = memory.init_queue(jax.random.key(0), 3, 1)
    queue = memory.enqueue(memory.enqueue(queue, np.zeros((1, 1))), np.arange(5.0)[:, None])
    assert queue.vectors[:, 0].tolist() == [4, 2, 3]
    assert queue.cursor == 1


def test_queue_and_relational_contrast_match_golden():
    golden = dict(np.load(GOLDENS / "memory.npz"))
    student_head, teacher_head = ({"kernel": golden[f"rrd_w{x}"], "bias": golden[f"rrd_b{x}"]} for x in "st")
    queue = memory.FifoQueue(jnp.asarray(golden["rrd_queue0"]), jnp.zeros((), jnp.int32))
    for step in range(2):
        teacher = project(teacher_head, golden[f"rrd_ft{step}"])
        queue = memory.enqueue(queue, teacher)

        def loss(embeddings, rows=queue.vectors, teacher=teacher):
            return relational_contrast(project(student_head, embeddings) @ rows.T, teacher @ rows.T, 0.1, 0.02)

        value, gradient = jax.jit(jax.value_and_grad(loss))(golden[f"rrd_fs{step}"])
        expected = golden[f"rrd_grad{step}"]
        np.testing.assert_allclose(value, golden[f"rrd_loss{step}"], rtol=5e-6)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=5e-6 * np.abs(expected).max())
        np.testing.assert_allclose(queue.vectors, golden[f"rrd_queue{step + 1}"], atol=5e-7)


def test_no_gradient_flows_into_the_memory():
    def stored(embeddings):
        bank = memory.momentum_update(normal(0, 6, 4), np.arange(3), embeddings, 0.5)
        queue = memory.enqueue(memory.init_queue(jax.random.key(0), 5, 4), embeddings)
        return jnp.sum(bank) + jnp.sum(queue.vectors)

    assert not jax.jit(jax.grad(stored))(normal(1, 3, 4)).any()


def test_normalize_has_finite_gradient_at_zero():
    rows = jnp.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    unit, gradient = jax.jit(jax.value_and_grad(lambda rows: jnp.sum(l2_normalize(rows))))(rows)
    np.testing.assert_allclose(unit, 1.4, rtol=1e-6)
    np.testing.assert_array_equal(gradient[0], 0.0)
    assert gradient[1].any()


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda: memory.momentum_update(normal(0, 6, 4), np.arange(2), normal(1, 3, 4), 0.5), ["(2,)", "(3, 4)"]),
        (lambda: memory.momentum_update(normal(0, 6, 4), np.arange(3), normal(1, 3, 5), 0.5), ["(6, 4)", "(3, 5)"]),
        (lambda: memory.enqueue(memory.init_queue(jax.random.key(0), 5, 2), np.zeros((3, 4))), ["2", "(3, 4)"]),
    ],
)
def test_error_messages_name_the_shapes(call, shapes):
    with pytest.raises(ValueError, match="got") as error:
        call()
    assert all(shape in str(error.value) for shape in shapes)
