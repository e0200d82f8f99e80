"""Sums of methods are methods."""

import zlib

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Distiller


def weighted_sum(terms: dict[str, tuple[float, Distiller]]) -> Distiller:
    """The Distiller whose loss is the weighted sum of the terms' losses: sum_m weight_m * L_m.

    Params and state are keyed by the terms' names; metrics are "<name>/loss" (before its weight) and "<name>/<key>".

    Args:
        terms: {name: (weight, distiller)}.

    Raises:
        ValueError: where there is no term.
    """
    if not terms:
        raise ValueError("weighted_sum needs at least one term")

    def init(rng, student_shapes, teacher_shapes):
        parts = {
            name: distiller.init(_named(rng, name), student_shapes, teacher_shapes)
            for name, (_, distiller) in terms.items()
        }
        params = {name: part[0] for name, part in parts.items()}
        return params, {name: part[1] for name, part in parts.items()}

    def loss(params, state, student, teacher, batch, *, rng, axis_name=None):
        total, states, metrics = jnp.zeros(()), {}, {}
        for name, (weight, distiller) in terms.items():
            value, (states[name], own_metrics) = distiller.loss(
                params[name], state[name], student, teacher, batch, rng=_named(rng, name), axis_name=axis_name
            )
            total += weight * value
            metrics |= {f"{name}/{key}": metric for key, metric in ({"loss": value} | own_metrics).items()}
        return total, (states, metrics)

    def refresh(state, student_embeddings, teacher_embeddings, rng, *, axis_name=None):
        return {
            name: state[name]
            if distiller.refresh is None
            else distiller.refresh(
                state[name], student_embeddings, teacher_embeddings, _named(rng, name), axis_name=axis_name
            )
            for name, (_, distiller) in terms.items()
        }

    def histograms(state):
        return {
            f"{name}/{key}": values
            for name, (_, distiller) in terms.items()
            for key, values in distiller.histograms(state[name]).items()
        }

    needs_maps = any(distiller.needs_feature_maps for _, distiller in terms.values())
    mines = any(distiller.refresh for _, distiller in terms.values())
    return Distiller(init, loss, refresh if mines else None, needs_maps, histograms)


def _named(rng, name: str):
    """A key of the name's own, so that a further term changes no other term's draws."""
    return jax.random.fold_in(rng, zlib.crc32(name.encode()))
