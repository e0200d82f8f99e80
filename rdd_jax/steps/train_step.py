"""One update, written for one device with explicit collectives, and many updates in one call."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from rdd_jax.core.collectives import global_row_indices, keys_for_rows, mean_over_devices
from rdd_jax.core.types import Array, Batch, Distiller
from rdd_jax.data.pipeline import Feed, Resident
from rdd_jax.steps.optimizer import at_step
from rdd_jax.steps.teacher import Teach
from rdd_jax.steps.train_state import SKIPPED, TrainState, is_finite

# (images uint8[b,h,w,c], keys key[b]) -> f32[b,h,w,c]
Preprocess = Callable[[Array, Array], Array]
# (state, images, labels, candidates i32[c], key of the views, axis_name) -> (indices i32[b], their places among all)
Select = Callable[..., tuple[Array, Array]]
# (state, teaching, images as the feed gives them, training labels i32[n], indices i32[b]) -> state
TrainStep = Callable[..., TrainState]


def step_keys(seed: Array, step: Array) -> tuple[Array, Array]:
    """Two keys of update `step`: of the views that it sees, and of what its losses draw."""
    views, losses = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
    return views, losses


def make_train_step(
    student: nn.Module,
    teach: Teach | None,
    distiller: Distiller,
    optimizer: optax.GradientTransformation,
    preprocess: Preprocess,
    *,
    select: Select | None = None,
    feed: type[Feed] = Resident,
    axis_name: str | None = None,
) -> TrainStep:
    """The update of one device: it sees its rows of the batch, and every device returns the same state.

    With `select` the rows are candidates, of which it trains on some; it wants a resident feed.

    Every random draw is keyed by (seed, step, place in the global batch). Without a teacher the student's own outputs
    stand in for its: there is nothing to distil, and only a loss that ignores the teacher makes sense.
    """

    def train_step(state, teaching, images, labels, indices):
        view_rng, loss_rng = step_keys(state.seed, state.step)
        places = global_row_indices(len(indices), axis_name)
        if select:
            with jax.named_scope("select"):
                indices, places = select(state, images, labels, indices, view_rng, axis_name)
        with jax.named_scope("augment"):
            pixels = preprocess(feed.rows(images, indices), keys_for_rows(view_rng, places))
        batch = Batch(pixels, labels[indices], indices)

        def loss_fn(trained):
            params, heads = trained
            variables = {**state.student, "params": params}
            with jax.named_scope("student"):
                outputs, updates = student.apply(variables, pixels, train=True, mutable=["batch_stats"])
            with jax.named_scope("teacher"):
                reference = outputs if teach is None else teach(teaching, pixels, indices)
            with jax.named_scope("distill"):
                loss, (distiller_state, metrics) = distiller.loss(
                    heads,
                    state.distiller,
                    outputs,
                    jax.lax.stop_gradient(reference),
                    batch,
                    rng=loss_rng,
                    axis_name=axis_name,
                )
            metrics = {"loss": loss, "accuracy": percent_correct(outputs.logits, batch.labels), **metrics}
            return loss, (updates, distiller_state, metrics)

        trained = (state.student["params"], state.heads)
        gradients, (updates, distiller_state, metrics) = jax.grad(loss_fn, has_aux=True)(trained)
        gradients, metrics = mean_over_devices((gradients, metrics), axis_name)
        with jax.named_scope("optimizer"):
            changes, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
            params, heads = optax.apply_updates(trained, changes)
        return state._replace(
            step=state.step + 1,
            student={**updates, "params": params},
            heads=heads,
            distiller=distiller_state,
            optimizer=optimizer_state,
            metrics=state.metrics
            | {name: state.metrics[name].merge(Average.from_model_output(value)) for name, value in metrics.items()},
        )

    return train_step


def skip_poison(train_step: TrainStep) -> TrainStep:
    """The same update, but for one that leaves a state that is not finite: of that only the step is counted."""

    def guarded(state, *arguments):
        new = train_step(state, *arguments)
        good = is_finite(new)
        kept = jax.tree.map(lambda after, before: jnp.where(good, after, before), new, state)
        skipped = state.metrics[SKIPPED].merge(Average.from_model_output(jnp.where(good, 0.0, 100.0)))
        optimizer = at_step(kept.optimizer, new.step)
        return kept._replace(step=new.step, optimizer=optimizer, metrics=kept.metrics | {SKIPPED: skipped})

    return guarded


def make_train_call(
    train_step: TrainStep, steps_per_call: int, feed: type[Feed] = Resident
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """-> (state, teaching, images, labels, indices i32[steps_per_call,b], steps i32[]) -> (state, progress).

    The number of steps is data, so that a call at the end of an epoch may do fewer without a second compilation.
    `progress` holds the epoch's loss and accuracy so far, in buffers that the next call does not take over.
    """

    def train_call(state, teaching, images, labels, indices, steps):
        def one(step, state):
            return train_step(state, teaching, feed.of_step(images, step), labels, indices[step])

        # Inside a loop XLA's CPU convolutions lose their threads: a single step is called as it is.
        state = one(0, state) if steps_per_call == 1 else jax.lax.fori_loop(0, steps, one, state)
        averages = [state.metrics[name] for name in ("loss", "accuracy")]
        # All may have been left out so far.
        loss, accuracy = (average.total / jnp.maximum(average.count, 1) for average in averages)
        return state, {"loss": loss, "accuracy": accuracy}

    return train_call


def percent_correct(logits: Array, labels: Array) -> Array:
    """Top-1 accuracy in percent, f32[]: of logits f32[b,classes] against labels i32[b]."""
    return 100.0 * jnp.mean(jnp.argmax(logits, axis=-1) == labels)
