"""Weighted sums of distillation methods, which are methods again."""

import zlib
from functools import partial

import jax
import jax.numpy as jnp

from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.rdx.ranking import RankedEmbeddings

Terms = dict[str, tuple[float, Distiller]]  # Weight and method, by name.


def weighted_sum(terms: Terms) -> Distiller:
    """Makes the Distiller whose loss is the sum over m of weight_m * L_m.

    Parameters and state are keyed by the names of the terms. Metrics are "<name>/loss", before its weight, and
    "<name>/<key>". The random draws of a term depend on its name and not on the other terms.

    Args:
        terms: {name: (weight, distiller)}.

    Raises:
        ValueError: if there is no term.
    """
    if not terms:
        raise ValueError("weighted_sum needs at least one term")

    needs_maps = any(distiller.needs_feature_maps for _, distiller in terms.values())
    needs_labels = any(distiller.needs_labels for _, distiller in terms.values())
    mines = any(distiller.refresh for _, distiller in terms.values())
    return Distiller(
        init=partial(_init, terms),
        loss=partial(_loss, terms),
        refresh=partial(_refresh, terms) if mines else None,
        needs_feature_maps=needs_maps,
        histograms=partial(_histograms, terms),
        needs_labels=needs_labels,
    )


def _init(
    terms: Terms, rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput
) -> tuple[dict[str, Params], dict[str, State]]:
    parts = {
        name: distiller.init(_key_for(rng, name), student_shapes, teacher_shapes)
        for name, (_, distiller) in terms.items()
    }
    params = {name: part[0] for name, part in parts.items()}
    return params, {name: part[1] for name, part in parts.items()}


def _loss(
    terms: Terms,
    params: dict[str, Params],
    state: dict[str, State],
    student: ModelOutput,
    teacher: ModelOutput,
    batch: Batch,
    *,
    rng: Array,
    axis_name: str | None = None,
) -> tuple[Array, tuple[dict[str, State], Metrics]]:
    total, states, metrics = jnp.zeros(()), {}, {}
    for name, (weight, distiller) in terms.items():
        value, (states[name], own_metrics) = distiller.loss(
            params[name], state[name], student, teacher, batch, rng=_key_for(rng, name), axis_name=axis_name
        )
        total += weight * value
        metrics |= {f"{name}/{key}": metric for key, metric in ({"loss": value} | own_metrics).items()}
    return total, (states, metrics)


def _refresh(
    terms: Terms,
    state: dict[str, State],
    student_embeddings: Array,
    teacher_embeddings: Array | RankedEmbeddings,
    rng: Array,
    *,
    axis_name: str | None = None,
) -> dict[str, State]:
    embeddings = student_embeddings, teacher_embeddings
    return {
        name: distiller.refresh(state[name], *embeddings, _key_for(rng, name), axis_name=axis_name)
        if distiller.refresh
        else state[name]
        for name, (_, distiller) in terms.items()
    }


def _histograms(terms: Terms, state: dict[str, State]) -> dict[str, Array]:
    return {
        f"{name}/{key}": values
        for name, (_, distiller) in terms.items()
        for key, values in distiller.histograms(state[name]).items()
    }


def _key_for(rng: Array, name: str) -> Array:
    """Derives a key from the term's name, so that adding a term does not change the draws of the others."""
    return jax.random.fold_in(rng, zlib.crc32(name.encode()))
