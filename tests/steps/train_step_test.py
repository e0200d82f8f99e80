"""One update against numpy, many updates in one call, and the same updates on one device and on several."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from tiny import CLASSES, EXAMPLES, LABELS, ROWS, create

from rdd_jax import methods
from rdd_jax.core import devices
from rdd_jax.core.collectives import all_gather, keys_for_rows
from rdd_jax.core.types import Distiller, ModelOutput
from rdd_jax.data import pipeline
from rdd_jax.data.pipeline import IndexedBatches
from rdd_jax.models import as_network, layers
from rdd_jax.steps import optimizer as optimizers
from rdd_jax.steps import train_state
from rdd_jax.steps.teacher import forward_teacher
from rdd_jax.steps.train_step import accuracy, make_train_call, make_train_step, skip_nonfinite_updates, step_keys

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, size=(EXAMPLES, *SHAPE), dtype=np.uint8)
# Three batches, without an order that training could rely on.
INDICES = np.stack([np.random.default_rng(i).permutation(EXAMPLES)[:ROWS] for i in range(3)]).astype(np.int32)


class Linear(nn.Module):
    """Softmax regression: a network whose gradient is one line of numpy."""

    @nn.compact
    def __call__(self, images, train):
        pixels = images.reshape(len(images), -1)
        return ModelOutput(nn.Dense(CLASSES)(pixels), pixels)


class Convolutional(nn.Module):
    """The smallest network with batch norm; what it shows as further maps is a coarser view of the first."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train):
        maps = layers.conv(6, 3, 2, dtype=jnp.float32, name="conv")(images)
        maps = nn.relu(layers.batch_norm(train, self.axis_name, dtype=jnp.float32, name="norm")(maps))
        embedding = maps.mean((1, 2))
        shown = (maps, maps[:, ::2, ::2], maps[:, ::4, ::4])
        return ModelOutput(layers.classifier(embedding, CLASSES, name="fc"), embedding, shown)


def scale(images, keys):
    return images.astype(jnp.float32) / 255


def noisy(images, keys):
    """An augmentation that, unlike crops, differs for any two keys."""
    return scale(images, keys) + jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)


def sgd(schedule=lambda step: 0.05, *, momentum=0.9, weight_decay=5e-4):
    return optimizers.make_optimizer(
        optimizers.OptimizerOptions(), schedule, momentum=momentum, weight_decay=weight_decay
    )


def fresh(network, distiller, optimizer=None):
    """The state of a student of that network, before a teacher of the same."""
    network = as_network(network)
    arguments = SHAPE, network, network, distiller, optimizer or sgd()
    return jax.jit(lambda: train_state.create(jnp.int32(0), *arguments))()


def train_call(network, distiller, *, optimizer=None, augment=scale, axis_name=None, steps_per_call=1):
    """The call of one device."""
    network = as_network(network)
    step = make_train_step(
        network, forward_teacher(network), distiller, optimizer or sgd(), augment, axis_name=axis_name
    )
    return make_train_call(step, steps_per_call)


def batches(indices):
    return IndexedBatches(IMAGES, LABELS, indices)


def recorder():
    """A method that learns nothing and keeps what it was given: the images of the global batch and its key's draw."""

    def init(rng, student_shapes, teacher_shapes):
        return {}, {"images": jnp.zeros((ROWS, *SHAPE)), "draw": jnp.zeros(())}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        seen = {"images": all_gather(batch.inputs, axis_name), "draw": jax.random.uniform(rng)}
        return 0.0 * jnp.sum(student.logits), (seen, {})

    return Distiller(init, loss)


# One update.


def test_an_update_that_is_not_finite_is_skipped():
    """The learning rate is infinite in update 1 of three: its weights are left out, and only the step counts it."""
    optimizer = sgd(lambda step: jnp.where(step == 1, jnp.inf, 0.1))
    network = as_network(Linear())
    create_state = functools.partial(train_state.create, 0, SHAPE, network, network, create("ce"), optimizer)
    state = create_state(counts_skipped=True)
    step = jax.jit(skip_nonfinite_updates(make_train_step(network, None, create("ce"), optimizer, scale)))
    states = [state]
    for indices in INDICES:
        states.append(step(states[-1], batches(indices[None]).batch(0), {}))
    kernels = [np.asarray(state.student["params"]["Dense_0"]["kernel"]) for state in states]
    np.testing.assert_array_equal(kernels[2], kernels[1])
    assert (kernels[1] != kernels[0]).any()
    assert (kernels[3] != kernels[2]).any()
    assert np.isfinite(kernels[3]).all()
    assert [int(state.step) for state in states] == [0, 1, 2, 3]
    np.testing.assert_allclose(states[3].metrics[train_state.SKIPPED].compute(), 100 / 3, rtol=1e-6)


def test_updates_are_those_of_numpy():
    schedule = optimizers.stepped_schedule(0.2, milestones=(2,))
    optimizer = sgd(schedule, weight_decay=0.1)
    call = jax.jit(train_call(Linear(), create("ce"), optimizer=optimizer))
    state = fresh(Linear(), create("ce"), optimizer)
    teacher = state.student
    kernel, bias = (np.float64(state.student["params"]["Dense_0"][name]) for name in ("kernel", "bias"))
    velocities, losses, hits = [0.0, 0.0], [], []
    for step, indices in enumerate(INDICES):
        state, progress = call(state, batches(indices[None]), teacher, 1)
        pixels, labels = IMAGES[indices].reshape(ROWS, -1) / 255, LABELS[indices]
        logits = pixels @ kernel + bias
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log(probabilities[np.arange(ROWS), labels]).mean())
        hits.append(100 * (logits.argmax(1) == labels).mean())
        error = (probabilities - np.eye(CLASSES)[labels]) / ROWS
        gradients = pixels.T @ error + 0.1 * kernel, error.sum(0) + 0.1 * bias
        velocities = [0.9 * velocity + gradient for velocity, gradient in zip(velocities, gradients, strict=True)]
        rate = 0.2 if step < 2 else 0.02
        kernel, bias = kernel - rate * velocities[0], bias - rate * velocities[1]
        np.testing.assert_allclose(state.student["params"]["Dense_0"]["kernel"], kernel, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.student["params"]["Dense_0"]["bias"], bias, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(progress["loss"], np.mean(losses), rtol=1e-5)  # Of the epoch so far.
        np.testing.assert_allclose(progress["accuracy"], np.mean(hits), rtol=1e-6)
    assert state.step == 3


def test_a_new_epoch_counts_anew():
    state, call = fresh(Linear(), create("ce")), jax.jit(train_call(Linear(), create("ce")))
    teacher = state.student
    state, first = call(state, batches(INDICES[:1]), teacher, 1)
    assert state.metrics["loss"].count == 1
    emptied = train_state.reset_metrics(state)
    assert emptied.metrics["loss"].count == 0
    jax.tree.map(np.testing.assert_array_equal, emptied._replace(metrics=state.metrics), state)
    _, second = call(emptied, batches(INDICES[1:2]), teacher, 1)
    assert second["loss"] != first["loss"]


def test_without_a_teacher_the_student_is_its_own():
    state = fresh(Linear(), create("kd"))
    step = make_train_step(as_network(Linear()), None, create("kd"), sgd(), scale)
    after = jax.jit(step)(state, batches(INDICES).batch(0), None)
    assert abs(after.metrics["loss"].compute()) < 1e-6


def test_without_labels_the_accuracy_is_the_agreement_with_the_teacher():
    state = fresh(Linear(), create("kd"))
    step = make_train_step(as_network(Linear()), None, create("kd"), sgd(), scale)
    batch = batches(INDICES).batch(0)
    after = jax.jit(step)(state, batch._replace(labels=jnp.full(ROWS, -1)), None)
    assert after.metrics["accuracy"].compute() == 100  # The student is its own teacher.


def test_accuracy_is_in_percent():
    logits = np.eye(4, dtype=np.float32)
    assert accuracy(logits, np.array([0, 1, 2, 0])) == 75.0


def test_state_builds_without_computing():
    create_state, network = functools.partial(train_state.create, optimizer=sgd()), as_network(Convolutional())
    distiller = methods.weighted_sum({"ce": (1.0, create("ce")), "rdd": (0.8, create("rdd"))})
    shapes = jax.eval_shape(lambda seed: create_state(seed, SHAPE, network, network, distiller), 0)
    assert set(shapes.metrics) >= {"loss", "accuracy", "ce/loss", "rdd/loss"}
    assert shapes.distiller_state["rdd"].bank.student.shape == (EXAMPLES, 4)
    trained = jax.tree.leaves((shapes.student["params"], shapes.distiller_params))
    moved = [x for x in jax.tree.leaves(shapes.optimizer) if x.ndim]
    assert [x.shape for x in moved] == [x.shape for x in trained]


class Counting(nn.Module):
    """Softmax regression with dropout and two collections: one that training changes, one that it does not."""

    @nn.compact
    def __call__(self, images, train):
        steps = self.variable("counts", "steps", lambda: jnp.zeros((), jnp.int32))
        scale = self.variable("constants", "scale", lambda: jnp.float32(2))
        if train:
            steps.value += 1
        pixels = nn.Dropout(0.5, deterministic=not train)(scale.value * images.reshape(len(images), -1))
        return ModelOutput(nn.Dense(CLASSES)(pixels), pixels)


def pixel_sum():
    """A method that learns nothing and keeps the sum of the student's embedding."""
    return Distiller(
        lambda rng, student_shapes, teacher_shapes: ({}, jnp.zeros(())),
        lambda params, state, student, teacher, batch, *, rng, axis_name=None: (
            0.0 * student.logits.sum(),
            (student.embedding.sum(), {}),
        ),
    )


def test_the_student_may_have_any_collections_and_draws_by_seed_and_step():
    state = fresh(Counting(), pixel_sum())
    call = jax.jit(train_call(Counting(), pixel_sum()))
    teacher, sums = state.student, {}
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        start = state._replace(seed=jnp.int32(seed), step=jnp.int32(step))
        after, _ = call(start, batches(INDICES[:1]), teacher, 1)
        sums.setdefault((seed, step), set()).add(float(after.distiller_state))
    assert [len(values) for values in sums.values()] == [1, 1, 1]
    assert len(set.union(*sums.values())) == 3
    assert after.student["counts"] == {"steps": 1}
    assert after.student["constants"] == {"scale": 2.0}


# Many updates, many devices.


def test_a_call_of_many_steps_is_as_many_calls():
    distiller = methods.weighted_sum({"ce": (1.0, create("ce")), "recorder": (1.0, recorder())})
    one = jax.jit(train_call(Linear(), distiller, augment=noisy))
    many = jax.jit(train_call(Linear(), distiller, augment=noisy, steps_per_call=3))
    expected = state = fresh(Linear(), distiller)
    teacher = state.student
    for steps in (1, 2, 3):
        expected, progress = one(expected, batches(INDICES[steps - 1 : steps]), teacher, 1)
        actual = many(state, batches(INDICES), teacher, steps)
        assert actual[0].step == steps
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)  # The loop is fused otherwise.
        jax.tree.map(close, actual, (expected, progress))
    assert many._cache_size() == 1


def test_devices_train_the_same_student(num_devices):
    """Every method at once, random augmentations, batch norm: three updates on all devices and on one."""
    distiller = methods.weighted_sum({name: (0.5, create(name)) for name in methods.METHODS})
    one = jax.jit(train_call(Convolutional(), distiller, augment=noisy))
    each = train_call(Convolutional(devices.AXIS), distiller, augment=noisy, axis_name=devices.AXIS)
    train = pipeline.put(IMAGES, LABELS)
    every = devices.data_parallel(each, in_axes=(None, train.in_axes, None, None), donated=(0,))
    # Copies: a donated buffer must have no other user.
    one_state = fresh(Convolutional(), distiller)
    state, teacher = (devices.replicate(jax.tree.map(np.array, x)) for x in (one_state, one_state.student))
    one_teacher, earlier = one_state.student, None
    for indices in INDICES[:, None]:
        one_state, expected = one(one_state, batches(indices), one_teacher, 1)
        before = state
        (sent,) = train.train_batches([indices], 0, 1)
        state, progress = every(before, sent, teacher, 1)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
        if earlier is not None:  # What a call reports outlives the next one.
            np.testing.assert_allclose(*earlier, rtol=1e-5)
        earlier = progress["loss"], expected["loss"]

    def close(actual, expected, least=1e-3):
        # 1e-6 from sums in another order, some tenfold by the contrastive temperature and by three updates.
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5 * max(least, np.abs(expected).max()))

    # The loss of kd is 0.02 here, a difference of terms of 20.
    jax.tree.map(functools.partial(close, least=0.1), state.metrics, one_state.metrics)
    jax.tree.map(close, state._replace(metrics={}), one_state._replace(metrics={}))
    for leaf in jax.tree.leaves(state):
        copies = devices.per_device_copies(leaf)
        assert len(copies) == num_devices
        assert all(np.array_equal(copy, copies[0]) for copy in copies)


def test_student_teacher_and_labels_see_the_same_mixed_images():
    """The networks' embeddings are their inputs; `select` keeps half of the rows."""

    def init(rng, student_shapes, teacher_shapes):
        return {}, [jnp.zeros((ROWS // 2, 64)), jnp.zeros((ROWS // 2, 64))]

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        return 0.0 * jnp.sum(student.logits), ([student.embedding, teacher.embedding], {})

    def select(state, candidates, rng, axis_name=None):
        return jax.tree.map(lambda leaf: leaf[kept], candidates), kept

    def mix(batch, keys):
        share = jax.vmap(jax.random.uniform)(keys)[:, None]
        images = share[..., None, None] * batch.inputs + batch.inputs[::-1]
        return batch._replace(inputs=images, soft_labels=share * jax.nn.one_hot(batch.labels, CLASSES))

    kept = np.array([6, 1, 2, 7])
    network = as_network(Linear())
    distiller = methods.weighted_sum({"ce": (1.0, create("ce")), "seen": (1.0, Distiller(init, loss))})
    step = make_train_step(network, forward_teacher(network), distiller, sgd(), scale, select=select, mix=mix)
    state = fresh(Linear(), distiller)
    after = jax.jit(step)(state, batches(INDICES).batch(0), state.student)

    chosen = jax.tree.map(lambda leaf: leaf[kept], batches(INDICES).batch(0))
    chosen = chosen._replace(inputs=scale(chosen.inputs, None))
    mixed = mix(chosen, keys_for_rows(step_keys(0, jnp.int32(0)).augmentation, kept))
    for pixels in after.distiller_state["seen"]:
        np.testing.assert_allclose(pixels, mixed.inputs.reshape(4, 64), atol=1e-6)
    logits = network.apply(state.student, mixed.inputs, train=False)[0].logits
    expected = -(mixed.soft_labels * jax.nn.log_softmax(logits)).sum(1).mean()
    np.testing.assert_allclose(after.metrics["ce/loss"].compute(), expected, rtol=1e-5)
    np.testing.assert_allclose(after.metrics["accuracy"].compute(), accuracy(logits, chosen.labels))


# Randomness.


@functools.cache
def recorded_step(axis_name=None):
    def noise(images, keys):  # Nothing of the image is left.
        return noisy(jnp.zeros_like(images), keys)

    distiller = recorder()
    call = train_call(Linear(), distiller, augment=noise, axis_name=axis_name)
    if axis_name is not None:
        call = jax.vmap(call, in_axes=(None, IndexedBatches(None, None, 0), None, None), axis_name=axis_name)
    return fresh(Linear(), distiller), jax.jit(call)


def recorded(step=0, seed=0, indices=INDICES[:1], axis_name=None):
    """What the recorder saw in that step of a run of that seed."""
    state, call = recorded_step(axis_name)
    state = state._replace(step=jnp.int32(step), seed=jnp.int32(seed))
    return call(state, batches(indices), state.student, 1)[0].distiller_state


def test_draws_are_keyed_by_seed_step_and_place():
    first = recorded()
    assert len(np.unique(first["images"])) == first["images"].size  # Every row and pixel has its own.
    for again in (recorded(), recorded(indices=INDICES[1:2])):  # Whatever the examples are.
        jax.tree.map(np.testing.assert_array_equal, again, first)
    for other in (recorded(step=1), recorded(seed=1)):
        assert not np.isin(other["images"], first["images"]).any()
        assert other["draw"] != first["draw"]


def test_draws_do_not_know_the_devices():
    split = recorded(indices=INDICES[:1].reshape(1, 4, -1).swapaxes(0, 1), axis_name=devices.AXIS)
    for device in range(4):
        jax.tree.map(lambda x, y, i=device: np.testing.assert_array_equal(x[i], y), split, recorded())
