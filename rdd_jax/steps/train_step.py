"""One training step, from a batch to the next state: `make_train_step`; and many steps in one call.

The step is written for one device, with explicit collectives: it takes this device's rows of the global batch, and
every device returns the same state.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu.metrics import Average

from rdd_jax.core.collectives import global_row_indices, keys_for_rows, mean_over_devices
from rdd_jax.core.types import Array, Batch, Distiller, ModelOutput
from rdd_jax.data.pipeline import Batches
from rdd_jax.models import Network
from rdd_jax.steps.optimizer import set_schedule_count
from rdd_jax.steps.teacher import TeacherFn
from rdd_jax.steps.train_state import SKIPPED, TrainState, is_finite


class Augment(Protocol):
    """The augmentation of training images, with normalisation; as `data.augmentation.Augmentation`."""

    def __call__(self, images: Array, keys: Array, /) -> Array:
        """Returns f32[b,h,w,c] of images uint8[b,h,w,c], each by its own typed key [b]."""


class Mix(Protocol):
    """The mixing of images with each other; as `data.mixing.Mixing`."""

    def __call__(self, batch: Batch, keys: Array, /) -> Batch:
        """Returns the batch with mixed inputs and with `soft_labels`.

        Args:
            batch: this device's rows, augmented and normalised.
            keys: typed keys [b] of the rows, those of their augmentation.
        """


class Select(Protocol):
    """The choice of the examples to train on among a larger batch of candidates."""

    def __call__(
        self, state: TrainState, candidates: Batch, rng: Array, axis_name: str | None = None, /
    ) -> tuple[Batch, Array]:
        """Returns the chosen rows, not augmented, and their rows i32[b] in the global batch of candidates.

        Args:
            state: before the update.
            candidates: this device's candidates, not augmented.
            rng: the key of the step's augmentations.
            axis_name: the mapped axis of the devices, or None outside a mapped function.
        """


class TrainStep(Protocol):
    """One update of the student."""

    def __call__(self, state: TrainState, batch: Batch, teacher: Any, /) -> TrainState:
        """Returns the state after the update.

        Args:
            state: before the update; replicated.
            batch: this device's rows, not augmented: inputs uint8[b,h,w,c], labels i32[b], indices i32[b]. The
                accuracy of a row without a label is the agreement with the teacher's most probable class.
            teacher: the first argument of the step's `TeacherFn`; replicated.
        """


class TrainCall(Protocol):
    """Several updates in one call to the devices."""

    def __call__(
        self, state: TrainState, batches: Batches, teacher: Any, steps: Array | np.integer | int, /
    ) -> tuple[TrainState, dict[str, Array]]:
        """Returns the state after `steps` updates and the epoch's {"loss", "accuracy"} so far.

        The latter are in buffers of their own, which the next call does not take over.
        """


# Tells the student's key from other keys that are derived from that of an update.
_STUDENT_STREAM = 0x73747564


class StepKeys(NamedTuple):
    """The keys of one update: of its augmentations, of the random draws of its loss, and of those of the student."""

    augmentation: Array
    loss: Array
    student: Array


def step_keys(seed: Array | int, step: Array) -> StepKeys:
    """Returns the keys of update `step` of the run with that seed."""
    rng = jax.random.fold_in(jax.random.key(seed), step)
    augmentation, loss = jax.random.split(rng)
    return StepKeys(augmentation, loss, jax.random.fold_in(rng, _STUDENT_STREAM))


def make_train_step(
    student: Network,
    teacher_fn: TeacherFn | None,
    distiller: Distiller,
    optimizer: optax.GradientTransformation,
    augment: Augment,
    *,
    select: Select | None = None,
    mix: Mix | None = None,
    axis_name: str | None = None,
) -> TrainStep:
    """Makes the training step: augmentation, student, teacher, distillation loss, gradients, optimizer.

    Every random draw is keyed by (seed, step, row in the global batch), so that the number of devices changes none; but
    those of the student itself, as of dropout, are keyed by the first row of each device, and change with that number.

    Args:
        student: the network to train.
        teacher_fn: finds the teacher's output. None without a teacher: the student's own output then stands in for it,
            which makes sense only for a loss that ignores the teacher.
        distiller: the loss.
        optimizer: updates the parameters of the student and of the distiller.
        augment: augments and normalises the batch.
        select: chooses the rows to train on; the batches then hold candidates. None trains on all rows.
        mix: mixes the augmented images, before both networks; None for no mixing.
        axis_name: the mapped axis of the devices, or None outside a mapped function.
    """

    def compute_loss(
        trained: Any, state: TrainState, batch: Batch, teacher: Any, rng: Array, student_rng: Array
    ) -> tuple[Array, Any]:
        params, distiller_params = trained
        with jax.named_scope("student"):
            variables = {**state.student, "params": params}
            output, collections = student.apply(variables, batch.inputs, train=True, rngs={"default": student_rng})
        with jax.named_scope("teacher"):
            teacher_output: ModelOutput = output if teacher_fn is None else teacher_fn(teacher, batch)
            teacher_output = jax.lax.stop_gradient(teacher_output)
        with jax.named_scope("distill"):
            loss, (distiller_state, metrics) = distiller.loss(
                distiller_params, state.distiller_state, output, teacher_output, batch, rng=rng, axis_name=axis_name
            )
        labels = batch.labels
        if not distiller.needs_labels:  # There may be none: then the accuracy is the agreement with the teacher.
            labels = jnp.where(labels >= 0, labels, jnp.argmax(teacher_output.logits, axis=-1))
        metrics = {"loss": loss, "accuracy": accuracy(output.logits, labels), **metrics}
        return loss, (collections, distiller_state, metrics)

    def train_step(state: TrainState, batch: Batch, teacher: Any, /) -> TrainState:
        keys = step_keys(state.seed, state.step)
        rows = global_row_indices(len(batch.indices), axis_name)
        if select:
            with jax.named_scope("select"):
                batch, rows = select(state, batch, keys.augmentation, axis_name)
        with jax.named_scope("augment"):
            row_keys = keys_for_rows(keys.augmentation, rows)
            batch = batch._replace(inputs=augment(batch.inputs, row_keys))
            batch = mix(batch, row_keys) if mix else batch

        trained = (state.student["params"], state.distiller_params)
        # A network draws for all rows of its device at once, and for other rows on another device.
        student_rng = jax.random.fold_in(keys.student, global_row_indices(len(batch.indices), axis_name)[0])
        gradients, (collections, distiller_state, metrics) = jax.grad(compute_loss, has_aux=True)(
            trained, state, batch, teacher, keys.loss, student_rng
        )
        gradients, metrics = mean_over_devices((gradients, metrics), axis_name)
        with jax.named_scope("optimizer"):
            changes, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
            updated: Any = optax.apply_updates(trained, changes)
            params, distiller_params = updated
        return state._replace(
            step=state.step + 1,
            student={**state.student, **collections, "params": params},
            distiller_params=distiller_params,
            distiller_state=distiller_state,
            optimizer=optimizer_state,
            metrics=state.metrics
            | {name: state.metrics[name].merge(Average.from_model_output(value)) for name, value in metrics.items()},
        )

    return train_step


def skip_nonfinite_updates(train_step: TrainStep) -> TrainStep:
    """Makes a step that skips an update after which the state would not be finite.

    A skipped update only increments the step, and counts in the metric `SKIPPED`.
    """

    def guarded(state: TrainState, batch: Batch, teacher: Any, /) -> TrainState:
        new = train_step(state, batch, teacher)
        finite = is_finite(new)
        kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
        skipped = state.metrics[SKIPPED].merge(Average.from_model_output(jnp.where(finite, 0.0, 100.0)))
        optimizer = set_schedule_count(kept.optimizer, new.step)
        return kept._replace(step=new.step, optimizer=optimizer, metrics=kept.metrics | {SKIPPED: skipped})

    return guarded


def make_train_call(train_step: TrainStep, steps_per_call: int) -> TrainCall:
    """Makes the function of up to `steps_per_call` updates.

    The number of steps is an argument, so that a call at the end of an epoch may do fewer without a second compilation.
    """

    def train_call(
        state: TrainState, batches: Batches, teacher: Any, steps: Array | np.integer | int, /
    ) -> tuple[TrainState, dict[str, Array]]:
        def one_step(step: Array | int, state: TrainState) -> TrainState:
            return train_step(state, batches.batch(step), teacher)

        # Inside a loop XLA's CPU convolutions run on a single thread: one step is therefore called without a loop.
        state = one_step(0, state) if steps_per_call == 1 else jax.lax.fori_loop(0, steps, one_step, state)
        averages = {name: state.metrics[name] for name in ("loss", "accuracy")}
        # The count is 0 where all updates so far have been skipped.
        return state, {name: average.total / jnp.maximum(average.count, 1) for name, average in averages.items()}

    return train_call


def accuracy(logits: Array, labels: Array) -> Array:
    """Returns the top-1 accuracy in percent, f32[], of logits f32[b,classes] and labels i32[b]."""
    return 100.0 * jnp.mean(jnp.argmax(logits, axis=-1) == labels)
