"""The train state: all that changes in a run, as one immutable pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu.metrics import Average

from rdd_jax import models
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.models import Network
from rdd_jax.rdx import drift

# The metric: the percentage of the epoch's updates that were skipped, as the state would not have been finite.
SKIPPED = "skipped_percent"


class TrainState(NamedTuple):
    """The state of a run between two updates, as a checkpoint holds it.

    step: i32[], the number of updates done.
    seed: i32[], of every random draw; an array and not a constant, so that all seeds share one compiled program.
    student: the variables, {"params", "batch_stats"} of our own networks.
    distiller_params: the distiller's params, which are trained with the student.
    distiller_state: the distiller's state, such as a memory bank and the mined table.
    optimizer: the state of the optax optimizer.
    metrics: {name: Average} over the updates of the present epoch, and the drift that was measured before it.
    scores: f32[n], one for each training image. For the samplers "rdx" and "curriculum" its position in the order from
        the easiest to the hardest, for "rho" its irreducible loss; None for all others.
    probe: f32[p,d], the student's embeddings of the probe images at the last mining, from which drift is measured; None
        unless `mining.kind` is "adaptive".
    average: the moving average of `student` over the updates; None unless `optimizer.ema` is above 0.
    """

    step: Array
    seed: Array
    student: dict[str, Any]
    distiller_params: Params
    distiller_state: State
    optimizer: optax.OptState
    metrics: dict[str, Average]
    scores: Array | None = None
    probe: Array | None = None
    average: dict[str, Any] | None = None


def create(
    seed: Array | int,
    image_shape: tuple[int, int, int],
    student: Network,
    teacher: Network,
    distiller: Distiller,
    optimizer: optax.GradientTransformation,
    num_scores: int = 0,
    num_probes: int = 0,
    counts_skipped: bool = False,
    has_average: bool = False,
) -> TrainState:
    """Creates the state before the first update; works under `jax.eval_shape` and jit.

    Args:
        seed: i32[].
        image_shape: height, width and channels.
        student: the network to train.
        teacher: the teacher's network; without a teacher the student's.
        distiller: the loss.
        optimizer: of the parameters of student and distiller.
        num_scores: the number of training images, if the sampler ranks them, else 0.
        num_probes: the number of probe images, if drift is measured, else 0.
        counts_skipped: whether the percentage of skipped updates is among the metrics.
        has_average: whether the moving average of the student's variables is kept; it begins with their first values.
    """
    student_rng, distiller_rng = jax.random.split(jax.random.key(seed))
    variables = models.init(student, student_rng, image_shape)
    shapes = [output_shapes(network, image_shape) for network in (student, teacher)]
    distiller_params, distiller_state = distiller.init(distiller_rng, *shapes)
    names = ["loss", "accuracy", *_metric_shapes(distiller, distiller_params, distiller_state, *shapes)]
    names += drift.METRIC_NAMES if num_probes else ()
    names += [SKIPPED] if counts_skipped else []
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.int32),
        student=variables,
        distiller_params=distiller_params,
        distiller_state=distiller_state,
        optimizer=optimizer.init((variables["params"], distiller_params)),
        metrics={name: Average.empty() for name in names},
        scores=jnp.zeros((num_scores,)) if num_scores else None,
        probe=jnp.zeros((num_probes, shapes[0].embedding.shape[-1])) if num_probes else None,
        average=variables if has_average else None,
    )


def reset_metrics(state: TrainState) -> TrainState:
    """Returns the state with empty metrics, as at the start of an epoch."""
    # NumPy scalars, each of which becomes a buffer of its own: all of them are donated to the next call.
    zeros: list[Any] = [(np.float32(0), np.int32(0)) for _ in state.metrics]
    return state._replace(metrics={name: Average(*zero) for name, zero in zip(state.metrics, zeros, strict=True)})


def with_metrics(state: TrainState, values: dict[str, Array]) -> TrainState:
    """Returns the state with values f32[] as metrics of the epoch; they are saved with it."""
    new = {name: Average.empty().merge(Average.from_model_output(value)) for name, value in values.items()}
    return state._replace(metrics=state.metrics | new)


def evaluated_variables(state: TrainState) -> dict[str, Any]:
    """Returns the variables that are evaluated, exported and loaded: the moving average, where there is one."""
    return state.student if state.average is None else state.average


def is_finite(state: TrainState) -> Array:
    """Returns bool[]: all that an update changes, and the epoch's loss so far, are finite."""
    loss = state.metrics["loss"].total
    changed = (state.student, state.average, state.distiller_params, state.distiller_state, state.optimizer, loss)
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(changed)]).all()


def output_shapes(network: Network, image_shape: tuple[int, int, int]) -> ModelOutput:
    """Returns the `jax.ShapeDtypeStruct`s of a network's output for one image of that (height, width, channels)."""

    def outputs(rng: Array) -> ModelOutput:
        images = jnp.zeros((1, *image_shape))
        return network.apply(network.init(rng, images), images, train=False)[0]

    return jax.eval_shape(outputs, jax.random.key(0))


def _metric_shapes(
    distiller: Distiller, params: Params, state: State, student: ModelOutput, teacher: ModelOutput
) -> Metrics:
    """Returns the shapes of the metrics of the distiller's loss, by name."""

    def metrics(params: Params, state: State, student: ModelOutput, teacher: ModelOutput) -> Metrics:
        rows = len(student.logits)
        batch = Batch(jnp.zeros((rows, 1, 1, 1)), jnp.zeros((rows,), jnp.int32), jnp.zeros((rows,), jnp.int32))
        return distiller.loss(params, state, student, teacher, batch, rng=jax.random.key(0), axis_name=None)[1][1]

    return jax.eval_shape(metrics, params, state, student, teacher)
