"""The methods by name, and sums of them by weight.

To add a method, write `rdd_jax/methods/NAME.py` with a factory NAME that is decorated with `@register`, and import it
in `rdd_jax/methods/__init__.py`:

    from rdd_jax.methods.NAME import NAME as NAME

Its keyword-only arguments are its options: they and their defaults become the keys `distill.NAME.*` of configurations.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.types import Distiller
from rdd_jax.methods.scheduled import scheduled, warmup
from rdd_jax.methods.weighted_sum import weighted_sum

Factory = TypeVar("Factory", bound=Callable[..., Distiller])

# The factories by name: ([training_labels,] [epoch_starts,] *, option=default, ...) -> Distiller.
METHODS: dict[str, Callable[..., Distiller]] = {}

# The baseline without distillation, and the term that most objectives have beside others.
CROSS_ENTROPY = "ce"
# The methods that do not read the teacher's output.
_WITHOUT_TEACHER = (CROSS_ENTROPY, "ps_kd")
# The weights of Irakiza & Mugisha 2026, section 3.
RDD_OBJECTIVE = {"ce": 1.0, "kd": 0.9, "rdd": 0.8}
# The keys of every method beside its options: of how it is summed.
TERM: dict[str, Any] = {"weight": 0.0, "warmup_epochs": 0, "warmup_shape": "linear"}
# The options that make a method another one, with what they add to its name.
_VARIANTS = {"standardize": "_standardized", "smoothing": "_smoothed"}


def register(factory: Factory) -> Factory:
    """Adds a factory to METHODS under its own name. Use it as a decorator, also for methods of your own."""
    METHODS[factory.__name__] = factory
    return factory


def options(name: str) -> dict[str, Any]:
    """Returns the options of a method with their defaults: the keyword-only arguments of its factory.

    Raises:
        ValueError: for an unknown name.
    """
    parameters = inspect.signature(_factory(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY}


def create(
    name: str, training_labels: np.ndarray | None = None, epoch_starts: Sequence[int] = (0,), **chosen: Any
) -> Distiller:
    """Creates a method by name.

    Args:
        name: a key of METHODS.
        training_labels: i32[N], -1 for examples without a label; for the methods that keep something for every training
            example.
        epoch_starts: the first step of each epoch; for the methods that change with the epochs.
        **chosen: the options that differ from `options(name)`.

    Raises:
        ValueError: for an unknown name or option, an impossible value, or missing labels.
    """
    factory = _factory(name)
    unknown = sorted(set(chosen) - set(options(name)))
    if unknown:
        raise ValueError(f'method {name} has no option "{unknown[0]}"; it has {", ".join(options(name)) or "none"}')
    for option, value in chosen.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name}: {option} must be finite; got {value}")
    known = {"training_labels": training_labels, "epoch_starts": epoch_starts}
    wanted = {key: value for key, value in known.items() if key in inspect.signature(factory).parameters}
    if "training_labels" in wanted and training_labels is None:
        raise ValueError(f"method {name} needs the labels of the training set")
    return factory(**wanted, **chosen)


def from_options(
    distill: Mapping[str, Mapping[str, Any]], training_labels: np.ndarray, epoch_starts: Sequence[int] = (0,)
) -> Distiller:
    """Creates the weighted sum of the methods whose weight is not 0.

    Args:
        distill: {name: {"weight": weight, "warmup_epochs": epochs, "warmup_shape": shape, option: value, ...}}. Over
            its first `warmup_epochs` the weight grows from near 0, as `scheduled.warmup` describes; 0, the default, for
            a constant weight.
        training_labels: i32[N], -1 for examples without a label.
        epoch_starts: the first step of each epoch.

    Raises:
        ValueError: if no weight is above 0, or one is negative or not finite; and the errors of `create` and `warmup`.
    """
    active = {name: TERM | dict(chosen) for name, chosen in distill.items() if chosen["weight"]}
    if not active or not all(0 < chosen["weight"] < math.inf for chosen in active.values()):
        raise ValueError("distill: weights must be finite and not negative, and one must be above 0")
    terms = {}
    for name, chosen in active.items():
        weight, epochs, shape = (chosen.pop(key) for key in TERM)
        distiller = create(name, training_labels, epoch_starts, **chosen)
        if epochs:
            distiller = scheduled(distiller, warmup(epochs, epoch_starts, shape))
        terms[name] = weight, distiller
    return weighted_sum(terms)


def label(distill: Mapping[str, Mapping[str, Any]]) -> str:
    """Names an objective by its methods, joined by "+", without cross-entropy unless it is the only one.

    The name of the RDD paper's objective, with its weights, is "rdd"; that of RDD as the only method beside
    cross-entropy is "rdd_alone". Standardised logits and smoothed labels are named, as in "kd_standardized".

    Args:
        distill: {name: {"weight": weight, option: value, ...}}.
    """
    weights = {_variant(name, chosen): chosen["weight"] for name, chosen in distill.items() if chosen["weight"]}
    if weights == RDD_OBJECTIVE:
        return "rdd"
    names = [name for name in weights if name != CROSS_ENTROPY]
    return "rdd_alone" if names == ["rdd"] else "+".join(names) or CROSS_ENTROPY


def reads_teacher(distill: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns True if a method that reads the teacher's output has a weight.

    Args:
        distill: {name: {"weight": weight, ...}}.
    """
    return any(chosen["weight"] for name, chosen in distill.items() if name not in _WITHOUT_TEACHER)


def _variant(name: str, chosen: Mapping[str, Any]) -> str:
    return name + "".join(suffix for option, suffix in _VARIANTS.items() if chosen.get(option))


def _factory(name: str) -> Callable[..., Distiller]:
    if name not in METHODS:
        raise ValueError(unknown_name_message("method", name, METHODS))
    return METHODS[name]
