"""The methods by name, and sums of them by weight."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.types import Distiller
from rdd_jax.methods.at import at
from rdd_jax.methods.cc import cc
from rdd_jax.methods.ce import ce
from rdd_jax.methods.crd import crd
from rdd_jax.methods.fitnets import fitnets
from rdd_jax.methods.kd import kd
from rdd_jax.methods.nst import nst
from rdd_jax.methods.pkt import pkt
from rdd_jax.methods.rdd import rdd
from rdd_jax.methods.rdx_triplet import rdx_triplet
from rdd_jax.methods.rkd import rkd
from rdd_jax.methods.rrd import rrd
from rdd_jax.methods.sp import sp
from rdd_jax.methods.vid import vid
from rdd_jax.methods.weighted_sum import weighted_sum

METHODS: dict[str, Callable[..., Distiller]] = {
    "ce": ce,
    "kd": kd,
    "fitnets": fitnets,
    "at": at,
    "nst": nst,
    "pkt": pkt,
    "sp": sp,
    "cc": cc,
    "vid": vid,
    "rkd": rkd,
    "crd": crd,
    "rrd": rrd,
    "rdd": rdd,
    "rdx_triplet": rdx_triplet,
}

# The baseline without distillation, and the term that most methods have beside them.
LABELS_ALONE = "ce"
# Irakiza & Mugisha 2026, section 2.3: L = gamma CE + alpha KD + beta RDD, with "gamma = 1.0, alpha = 0.9, beta = 0.8".
RDD_OBJECTIVE = {"ce": 1.0, "kd": 0.9, "rdd": 0.8}


def options(name: str) -> dict[str, Any]:
    """The options of a method and their defaults, as its factory's signature has them."""
    parameters = inspect.signature(_factory(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY}


def create(name: str, training_labels: np.ndarray | None = None, **chosen: Any) -> Distiller:
    """The Distiller of that name.

    Args:
        name: a key of METHODS.
        training_labels: i32[N], for the methods that keep something for every training example.
        **chosen: the method's options, as `options(name)` lists them.

    Raises:
        ValueError: for an unknown name or option, an impossible value, or labels missing where they are needed.
    """
    factory = _factory(name)
    strange = sorted(set(chosen) - set(options(name)))
    if strange:
        raise ValueError(f'method {name} has no option "{strange[0]}"; it has {", ".join(options(name)) or "none"}')
    for option, value in chosen.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name}: {option} must be finite; got {value}")
    if "training_labels" not in inspect.signature(factory).parameters:
        return factory(**chosen)
    if training_labels is None:
        raise ValueError(f"method {name} needs the labels of the training set")
    return factory(training_labels, **chosen)


def from_options(distill: Mapping[str, Mapping[str, Any]], training_labels: np.ndarray) -> Distiller:
    """{name: {"weight": w, option: value}} -> the weighted sum of the methods whose weight is not 0.

    Raises:
        ValueError: where no weight is above 0, or one is below; and as `create` does.
    """
    active = {name: dict(chosen) for name, chosen in distill.items() if chosen["weight"]}
    if not active or not all(0 < chosen["weight"] < math.inf for chosen in active.values()):
        raise ValueError("distill: weights must be finite and not negative, and one must be above 0")
    weights = {name: chosen.pop("weight") for name, chosen in active.items()}
    return weighted_sum({name: (weights[name], create(name, training_labels, **active[name])) for name in active})


def label(distill: Mapping[str, Mapping[str, Any]]) -> str:
    """Names a run by its methods, joined by "+", without the cross-entropy that most have beside them.

    "rdd" is the RDD paper's objective, with its weights; RDD without another method is "rdd_alone".
    """
    weights = {name: chosen["weight"] for name, chosen in distill.items() if chosen["weight"]}
    if weights == RDD_OBJECTIVE:
        return "rdd"
    names = [name for name in weights if name != LABELS_ALONE]
    return "rdd_alone" if names == ["rdd"] else "+".join(names) or LABELS_ALONE


def _factory(name: str) -> Callable[..., Distiller]:
    if name not in METHODS:
        raise ValueError(unknown_name_message("method", name, METHODS))
    return METHODS[name]
