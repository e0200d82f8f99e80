"""Which candidates of a large batch a step trains on."""

import flax.linen as nn
import jax
import optax

from rdd_jax.core.collectives import all_gather, global_row_indices, keys_for_rows
from rdd_jax.steps.train_step import Preprocess, Select


def reducible_loss(student: nn.Module, preprocess: Preprocess, *, keep: int) -> Select:
    """Keeps the `keep` candidates a device with the largest reducible loss (RHO-LOSS, Mindermann et al. 2022, alg. 1).

    That is the student's present cross-entropy less the irreducible one, which `state.scores` holds: of a network that
    did not train on the example. What is learnt already, cannot be learnt or is mislabelled is passed over. The choice
    is made among the candidates of all devices.
    """

    def select(state, images, labels, candidates, view_rng, axis_name):
        places = global_row_indices(len(candidates), axis_name)
        pixels = preprocess(images[candidates], keys_for_rows(view_rng, places))
        logits = student.apply(state.student, pixels, train=False).logits
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels[candidates])
        reducible, candidates = all_gather((losses - state.scores[candidates], candidates), axis_name)
        best = jax.lax.top_k(reducible, keep * (len(reducible) // len(places)))[1]
        kept = best[global_row_indices(keep, axis_name)]
        return candidates[kept], kept

    return select
