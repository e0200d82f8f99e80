"""Shared types: the outputs of networks, batches, and the interface of a distillation method, `Distiller`.

Shapes are written as dtype[axes]: f32[b,c] is a float32 array with axes b (rows of the batch) and c; f[...] has any
float dtype. `examples/custom_loop.py` is a training loop with a `Distiller`.
"""

from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # A pytree of arrays that are trained.
State = Any  # A pytree of arrays that are not trained, such as a memory bank.
Metrics = dict[str, Array]  # Scalars by name.


class ModelOutput(NamedTuple):
    """The output of every network, student or teacher.

    logits: f32[b,classes].
    embedding: f32[b,d], the penultimate layer, after global average pooling.
    feature_maps: f[b,h,w,c] each, shallow to deep. The first is the output of the stem, or of the first block of a
        network without a stem. Empty if they are not available, as of a teacher whose outputs are cached.
    distilled_logits: f32[b,classes] of a second head that is trained on the teacher; None for a network without one.
    """

    logits: Array
    embedding: Array
    feature_maps: tuple[Array, ...] = ()
    distilled_logits: Array | None = None


class Batch(NamedTuple):
    """Training examples.

    inputs: the input of the networks, a pytree of arrays with leading axis b. In `Distiller.loss` images are
        f32[b,h,w,c], augmented and normalised; before the augmentation they are uint8[b,h,w,c].
    labels: i32[b]; -1 for an example without a label.
    indices: i32[b], the examples' indices in the training set, by which memories and mined tables are looked up.
    weights: f32[b,t], a mask of the tokens of sequences; None for images.
    soft_labels: f32[b,classes], the labels of mixed images as probabilities; None where images are not mixed. `labels`
        and `indices` are then of the image with the largest share.
    """

    inputs: Any
    labels: Array
    indices: Array
    weights: Array | None = None
    soft_labels: Array | None = None


class OnBatch(Protocol):
    """A callback of a long loop over batches, for example to show progress."""

    def __call__(self, done: int, total: int, /) -> None:
        """Receives the number of images that are done and of all images. It may raise to end the loop."""


class Init(Protocol):
    """The `init` of a `Distiller`."""

    def __call__(self, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput, /) -> tuple[Params, State]:
        """Creates the method's own trained parameters and its state. It runs under `jax.eval_shape` too.

        Args:
            rng: a typed key.
            student_shapes: the student's output for a batch; only shapes are read, so that the leaves may be
                `jax.ShapeDtypeStruct`.
            teacher_shapes: the same of the teacher.

        Returns:
            (params, state): `params` are trained with the student; `state` is updated by `loss` and `refresh`.
        """


class Loss(Protocol):
    """The `loss` of a `Distiller`."""

    def __call__(
        self,
        params: Params,
        state: State,
        student: ModelOutput,
        teacher: ModelOutput,
        batch: Batch,
        /,
        *,
        rng: Array,
        axis_name: str | None = None,
    ) -> tuple[Array, tuple[State, Metrics]]:
        """Computes the loss of a batch and the next state. The caller differentiates it by `params` and `student`.

        Args:
            params: of `init`, or after training steps.
            state: of `init`, or of the step before.
            student: the student's output for `batch`.
            teacher: the teacher's output for `batch`.
            batch: the examples. With several devices, `batch` and the outputs hold the rows of one device.
            rng: a typed key, the same on every device.
            axis_name: the mapped axis of the devices, or None outside of a mapped function.

        Returns:
            (loss f32[], (state, metrics)). The mean of the devices' losses is the loss of the global batch, and the
            same holds for gradients. The state is the same on every device.
        """


class Refresh(Protocol):
    """The `refresh` of a `Distiller` that mines."""

    def __call__(
        self,
        state: State,
        student_embeddings: Array,
        teacher_embeddings: Any,
        rng: Array,
        /,
        *,
        axis_name: str | None = None,
    ) -> State:
        """Mines the training set, now and then between training steps.

        Args:
            state: of `init` or of the last step.
            student_embeddings: f32[n,ds], of the whole training set.
            teacher_embeddings: f32[n,dt], or an `rdx.RankedEmbeddings` with the ranks of all pairs.
            rng: a typed key.
            axis_name: the mapped axis of the devices that share the work, or None outside of a mapped function.

        Returns:
            The state with the mined tables, the same on every device.
        """


class Histograms(Protocol):
    """The `histograms` of a `Distiller`."""

    def __call__(self, state: State, /) -> dict[str, Array]:
        """Returns per-example values {name: f32[n]} whose distribution is logged after each mining."""


def _no_histograms(state: State) -> dict[str, Array]:
    """Returns no values, for a method that logs none."""
    return {}


class Distiller(NamedTuple):
    """A distillation method as a value: pure functions, like an `optax.GradientTransformation`.

    init: creates the method's trained parameters and its state.
    loss: computes the loss of a batch and the next state.
    refresh: mines the training set; None for a method that does not mine.
    needs_feature_maps: whether the loss reads the feature maps of student and teacher.
    histograms: returns per-example values to log after each mining.
    needs_labels: whether the loss reads the labels, so that every example must have one.
    """

    init: Init
    loss: Loss
    refresh: Refresh | None = None
    needs_feature_maps: bool = False
    histograms: Histograms = _no_histograms
    needs_labels: bool = False
