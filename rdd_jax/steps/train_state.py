"""All that evolves in a run, as one immutable pytree."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu.metrics import Average

from rdd_jax import models
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput
from rdd_jax.rdx import drift

# Of the epoch's updates, the percentage that would have made the state not finite and were left out.
SKIPPED = "skipped_percent"


class TrainState(NamedTuple):
    """What a checkpoint holds.

    step: i32[], updates done.
    seed: i32[], of every random draw; data and not a constant, so that seeds share one compiled program.
    student: {"params", "batch_stats"}.
    heads: the distiller's params, trained with the student.
    distiller: the distiller's state.
    optimizer: the state of optax.
    metrics: {name: Average} over the steps of the present epoch, and the drift before it, where that was measured.
    scores: f32[n], by which the sampler knows the examples; None where it needs none.
    probe: f32[p,d], the student's embeddings of the drift's probe when the table was mined; None where none is kept.
    """

    step: Array
    seed: Array
    student: dict[str, Any]
    heads: Any
    distiller: Any
    optimizer: optax.OptState
    metrics: dict[str, Average]
    scores: Array | None = None
    probe: Array | None = None


def create(
    seed: Array,
    image_shape: tuple[int, int, int],
    student: nn.Module,
    teacher: nn.Module,
    distiller: Distiller,
    optimizer: optax.GradientTransformation,
    num_scores: int = 0,
    num_probes: int = 0,
    skips: bool = False,
) -> TrainState:
    """A fresh state for images of that (height, width, channels); works under `jax.eval_shape` and jit."""
    student_rng, heads_rng = jax.random.split(jax.random.key(seed))
    variables = models.init(student, student_rng, image_shape)
    shapes = [output_shapes(model, image_shape) for model in (student, teacher)]
    heads, distiller_state = distiller.init(heads_rng, *shapes)
    names = ["loss", "accuracy", *_metric_shapes(distiller, heads, distiller_state, *shapes)]
    names += drift.METRIC_NAMES if num_probes else ()
    names += [SKIPPED] if skips else []
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.int32),
        student=variables,
        heads=heads,
        distiller=distiller_state,
        optimizer=optimizer.init((variables["params"], heads)),
        metrics={name: Average.empty() for name in names},
        scores=jnp.zeros((num_scores,)) if num_scores else None,
        probe=jnp.zeros((num_probes, shapes[0].embedding.shape[-1])) if num_probes else None,
    )


def start_epoch(state: TrainState) -> TrainState:
    """The same state with nothing counted yet."""
    # NumPy's, of which each is placed by itself: the next call takes all of them over, and they must not be one array.
    return state._replace(metrics={name: Average(np.float32(0), np.int32(0)) for name in state.metrics})


def with_metrics(state: TrainState, values: dict[str, Array]) -> TrainState:
    """The same state with these values f32[] among the epoch's metrics; a resumed epoch still has them."""
    new = {name: Average.empty().merge(Average.from_model_output(value)) for name, value in values.items()}
    return state._replace(metrics=state.metrics | new)


def is_finite(state: TrainState) -> Array:
    """Whether all that an update changes, and the epoch's loss so far, are finite: bool[]."""
    changed = (state.student, state.heads, state.distiller, state.optimizer, state.metrics["loss"].total)
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(changed)]).all()


def output_shapes(model: nn.Module, image_shape: tuple[int, int, int]) -> ModelOutput:
    """The shapes of what a network returns for one image of that (height, width, channels)."""

    def outputs(rng):
        variables = models.init(model, rng, image_shape)
        return model.apply(variables, jnp.zeros((1, *image_shape)), train=False)

    return jax.eval_shape(outputs, jax.random.key(0))


def _metric_shapes(distiller: Distiller, heads: Any, state: Any, student: ModelOutput, teacher: ModelOutput) -> Metrics:
    def metrics(heads, state, student, teacher):
        rows = len(student.logits)
        batch = Batch(jnp.zeros((rows, 1, 1, 1)), jnp.zeros((rows,), jnp.int32), jnp.zeros((rows,), jnp.int32))
        return distiller.loss(heads, state, student, teacher, batch, rng=jax.random.key(0), axis_name=None)[1][1]

    return jax.eval_shape(metrics, heads, state, student, teacher)
