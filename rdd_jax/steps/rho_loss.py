"""The choice of the examples of a large batch that a step trains on, by their reducible loss."""

import jax
import optax

from rdd_jax.core.collectives import all_gather, global_row_indices, keys_for_rows
from rdd_jax.core.types import Array, Batch
from rdd_jax.models import Network
from rdd_jax.steps.train_state import TrainState
from rdd_jax.steps.train_step import Augment, Select


def reducible_loss(student: Network, augment: Augment, *, keep: int) -> Select:
    """Makes the function that keeps the examples of largest reducible loss (RHO-LOSS, Mindermann et al. 2022, alg. 1).

    The reducible loss is the student's present cross-entropy less the irreducible one in `state.scores`, which is the
    cross-entropy of a network that did not train on the example. Examples that are learnt already, cannot be learnt or
    are mislabelled have a small one. The choice is made among the candidates of all devices.

    Args:
        student: the network that is trained.
        augment: the augmentation of the training images.
        keep: the number of examples that each device keeps.
    """

    def select(
        state: TrainState, candidates: Batch, rng: Array, axis_name: str | None = None, /
    ) -> tuple[Batch, Array]:
        if state.scores is None:
            raise ValueError("state.scores must hold the irreducible losses f32[n] of the training set; got None")
        rows = global_row_indices(len(candidates.indices), axis_name)
        inputs = augment(candidates.inputs, keys_for_rows(rng, rows))
        logits = student.apply(state.student, inputs, train=False)[0].logits
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, candidates.labels)
        reducible = all_gather(losses - state.scores[candidates.indices], axis_name)
        every = jax.tree.map(lambda leaf: all_gather(leaf, axis_name), candidates)
        best = jax.lax.top_k(reducible, keep * (len(reducible) // len(rows)))[1]
        kept = best[global_row_indices(keep, axis_name)]
        return jax.tree.map(lambda leaf: leaf[kept], every), kept

    return select
