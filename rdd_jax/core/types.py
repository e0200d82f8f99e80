"""Shared types: model outputs, batches, networks' variables and the `Distiller` interface."""

from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # A pytree of arrays.
State = Any  # A pytree of arrays.
Metrics = dict[str, Array]


class ModelOutput(NamedTuple):
    """The output of every network.

    logits: f32[b,classes].
    embedding: f32[b,d], the penultimate layer, after global average pooling.
    feature_maps: f[b,h,w,c] each, shallow to deep. The first is the output of the stem, or of the first block of a
        network without one. () where none are available, as of a teacher whose outputs are cached.
    distilled_logits: f32[b,classes] of a second head that is trained on the teacher, else None.
    """

    logits: Array
    embedding: Array
    feature_maps: tuple[Array, ...] = ()
    distilled_logits: Array | None = None


class Batch(NamedTuple):
    """Training examples.

    inputs: the network's input, a pytree of arrays with leading axis b; of images f32[b,h,w,c], augmented.
    labels: i32[b].
    indices: i32[b], positions in the training set.
    weights: f32[b,t], a mask of the tokens of a sequence, or None.
    """

    inputs: Any
    labels: Array
    indices: Array
    weights: Array | None = None


class OnBatch(Protocol):
    """Is called after each batch of a loop over many images."""

    def __call__(self, done: int, total: int, /) -> None:
        """Takes the number of images that are done and of all images. It may raise to end the loop."""


class Init(Protocol):
    """The `init` of a distiller."""

    def __call__(self, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput, /) -> tuple[Params, State]:
        """Creates the trained parameters and the state; it also works under `jax.eval_shape`.

        Args:
            rng: a typed key.
            student_shapes: the student's output for some batch, of arrays or of `jax.ShapeDtypeStruct`.
            teacher_shapes: the teacher's.

        Returns:
            (params, state): `params` are trained together with the student, `state` is not.
        """


class Loss(Protocol):
    """The `loss` of a distiller."""

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
        """Computes the loss of a batch.

        Args:
            params: as of `init`.
            state: as of `init`, or of the previous batch.
            student: the student's output for the rows of this device.
            teacher: the teacher's.
            batch: the rows of this device.
            rng: a typed key, the same on every device.
            axis_name: the mapped axis of the devices, or None outside a mapped function.

        Returns:
            (loss f32[], (state, metrics)). The loss is this device's share: the mean over the devices of the losses,
            and of their gradients, is that of the global batch. The state is the same on every device.
        """


class Refresh(Protocol):
    """The `refresh` of a distiller that mines."""

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
        """Mines the training set.

        Args:
            state: as of `init` or `loss`.
            student_embeddings: f32[n,ds], of the whole training set.
            teacher_embeddings: f32[n,dt], or `rdx.RankedEmbeddings`, which holds them with their ranks.
            rng: a typed key.
            axis_name: the mapped axis of the devices that share the work, or None outside a mapped function.

        Returns:
            The state with the mined tables, the same on every device.
        """


class Histograms(Protocol):
    """The `histograms` of a distiller."""

    def __call__(self, state: State, /) -> dict[str, Array]:
        """Returns per-example values {name: f32[n]} that are logged after each mining."""


def _no_histograms(state: State) -> dict[str, Array]:
    """The `histograms` of a method that logs none."""
    return {}


class Distiller(NamedTuple):
    """A distillation method as a value, in the way of `optax.GradientTransformation`.

    init: creates the trained parameters and the state.
    loss: computes the loss and the next state.
    refresh: mines the training set; None for a method that does not mine.
    needs_feature_maps: whether the loss reads the feature maps of student and teacher.
    histograms: per-example values that are logged after each mining.
    """

    init: Init
    loss: Loss
    refresh: Refresh | None = None
    needs_feature_maps: bool = False
    histograms: Histograms = _no_histograms
