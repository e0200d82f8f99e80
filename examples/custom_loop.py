"""Distils a student in a training loop of your own, with the objective of the RDD paper.

    python -m examples.custom_loop

Trains a resnet14 on scikit-learn's digits with cross-entropy, then a resnet8 with 1.0 CE + 0.9 KD + 0.8 RDD. Shows what
a loop has to do for a `Distiller`: differentiate with respect to the student's parameters and the distiller's own, keep
the distiller's state, and mine from the embeddings of the whole training set every few epochs.
"""

import argparse
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdd_jax import Batch, Distiller, ModelOutput, methods, models
from rdd_jax.data import augmentation, datasets

BATCH_SIZE, MINING_EPOCHS = 64, 3
IMAGE_SHAPE, NUM_CLASSES = (8, 8, 1), 10


class Data(NamedTuple):
    """Normalised images f32[n,8,8,1] and labels i32[n]."""

    train_images: jax.Array
    train_labels: np.ndarray
    test_images: jax.Array
    test_labels: np.ndarray


class State(NamedTuple):
    """Everything that an update changes. `trained` is (the network's parameters, the distiller's parameters)."""

    trained: tuple[Any, Any]
    batch_stats: Any
    distiller: Any
    optimizer: optax.OptState


class Trained(NamedTuple):
    """A network and its variables."""

    network: nn.Module
    variables: dict[str, Any]

    def __call__(self, images: jax.Array) -> ModelOutput:
        """Returns the ModelOutput of images f32[b,h,w,c] in evaluation mode."""
        return _apply(self.network, self.variables, images)


@functools.partial(jax.jit, static_argnums=0)
def _apply(network: nn.Module, variables: dict[str, Any], images: jax.Array) -> ModelOutput:
    return network.apply(variables, images, train=False)


def load_digits(limit: int | None = None) -> Data:
    """Reads scikit-learn's digits; the first `limit` training images only, if it is given."""
    digits = datasets.load("digits")
    train, test = (
        augmentation.normalize(images, digits.mean, digits.std) for images in (digits.train_images, digits.test_images)
    )
    return Data(train[:limit], digits.train_labels[:limit], test, digits.test_labels)


def make_update(network, distiller: Distiller, optimizer: optax.GradientTransformation, teacher: Trained | None):
    """Returns the compiled update (state, batch, rng) -> state."""

    @jax.jit
    def update(state: State, batch: Batch, rng: jax.Array) -> State:
        def loss_fn(trained):
            params, heads = trained
            output, changed = network.apply(
                {"params": params, "batch_stats": state.batch_stats}, batch.inputs, train=True, mutable=["batch_stats"]
            )
            reference = teacher(batch.inputs) if teacher else output
            loss, (distiller_state, _) = distiller.loss(
                heads, state.distiller, output, reference, batch, rng=rng, axis_name=None
            )
            return loss, (changed["batch_stats"], distiller_state)

        gradients, (batch_stats, distiller_state) = jax.grad(loss_fn, has_aux=True)(state.trained)
        changes, optimizer_state = optimizer.update(gradients, state.optimizer, state.trained)
        return State(optax.apply_updates(state.trained, changes), batch_stats, distiller_state, optimizer_state)

    return update


def fit(network: nn.Module, distiller: Distiller, data: Data, epochs: int, teacher: Trained | None = None) -> Trained:
    """Trains a network with a distiller's loss. Without a teacher, the loss must be one that ignores it."""
    init_rng, distiller_rng, loop_rng = jax.random.split(jax.random.key(0), 3)
    steps = len(data.train_labels) // BATCH_SIZE
    schedule = optax.cosine_decay_schedule(0.05, epochs * steps)
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(schedule, momentum=0.9))

    student = Trained(network, models.init(network, init_rng, IMAGE_SHAPE))
    shapes = [jax.eval_shape(one, data.train_images[:1]) for one in (student, teacher or student)]
    heads, distiller_state = distiller.init(distiller_rng, *shapes)
    trained = (student.variables["params"], heads)
    state = State(trained, student.variables["batch_stats"], distiller_state, optimizer.init(trained))
    update = make_update(network, distiller, optimizer, teacher)
    for epoch in range(epochs):
        rng = jax.random.fold_in(loop_rng, epoch)
        if distiller.refresh and epoch % MINING_EPOCHS == 1:  # Not before epoch 0: the student has learned nothing yet.
            embeddings = [one(data.train_images).embedding for one in (student, teacher)]
            state = state._replace(distiller=distiller.refresh(state.distiller, *embeddings, rng))
        order = np.random.default_rng(epoch).permutation(len(data.train_labels))
        for step, indices in enumerate(order[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE)):
            batch = Batch(data.train_images[indices], data.train_labels[indices], indices)
            state = update(state, batch, jax.random.fold_in(rng, step))
        student = Trained(network, {"params": state.trained[0], "batch_stats": state.batch_stats})
    return student


def accuracy(network: Trained, data: Data) -> float:
    """Returns the test accuracy in percent."""
    return float(100 * jnp.mean(jnp.argmax(network(data.test_images).logits, axis=1) == data.test_labels))


def main(epochs: int = 8, teacher_name: str = "resnet14", limit: int | None = None) -> tuple[float, float]:
    """Trains teacher and student, prints their test accuracies in percent, and returns them."""
    data = load_digits(limit)
    teacher = fit(models.create(teacher_name, NUM_CLASSES), methods.ce(), data, epochs)
    objective = {
        "ce": (1.0, methods.ce()),
        "kd": (0.9, methods.kd(temperature=4.0)),
        "rdd": (0.8, methods.rdd(data.train_labels, num_negatives=1024, pool_size=64)),
    }
    student = fit(models.create("resnet8", NUM_CLASSES), methods.weighted_sum(objective), data, epochs, teacher)
    print(f"teacher {teacher_name}: {accuracy(teacher, data):.2f}%")
    print(f"student resnet8: {accuracy(student, data):.2f}%")
    return accuracy(teacher, data), accuracy(student, data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    main(parser.parse_args().epochs)
