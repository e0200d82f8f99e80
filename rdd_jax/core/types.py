"""The few words that everything else is said in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = Any
State = Any
Metrics = dict[str, Array]
# Called after each batch of a loop over many images with (images done, images in all); it may raise to end the loop.
OnBatch = Callable[[int, int], None]


class MapsWithheld(ValueError):
    """A loss asked for the maps of a teacher that shows none."""


@jax.tree_util.register_static
class Withheld:
    """Stands for the maps of a teacher of which only logits and embedding are at hand; whoever looks hears so."""

    def _refuse(self, *_: Any) -> Any:
        raise MapsWithheld("the teacher's maps are not at hand: its logits and embedding are all there is")

    __getitem__ = __iter__ = __len__ = _refuse


class Features(NamedTuple):
    """What a model shows besides its logits.

    maps: f32[b,h,w,c] each, shallow to deep; maps[0] is the output of the stem, or of the first block without one.
        `Withheld()` where only the rest is at hand.
    embedding: f32[b,d], the penultimate layer, after global average pooling.
    """

    maps: tuple[Array, ...] | Withheld
    embedding: Array


# What `model.apply` returns: (logits f32[b,classes], Features).
Outputs = tuple[Array, Features]


class Batch(NamedTuple):
    """Examples of the training set: images f32[b,h,w,c], labels i32[b], indices i32[b] (positions in the set)."""

    images: Array
    labels: Array
    indices: Array


def _no_histograms(state: State) -> dict[str, Array]:
    """The `histograms` of a method that has nothing to show."""
    return {}


class Distiller(NamedTuple):
    """A distillation method as a value, in the way of `optax.GradientTransformation`.

    init: (rng, student_shapes, teacher_shapes) -> (params, state). The shapes are `Outputs` of arrays or of
        `jax.ShapeDtypeStruct`; it works under `jax.eval_shape`. `params` train with the student, `state` does not.
    loss: (params, state, student, teacher, batch, *, rng, axis_name) -> (loss f32[], (state, metrics)).
        `student` and `teacher` are `Outputs` of this device's rows. The loss is this device's share: the mean over
        devices of losses and of gradients is the global one. `rng` is the same on every device. `axis_name` is None
        outside a mapped function.
    refresh: (state, student_embeddings f32[n,ds], teacher_embeddings f32[n,dt], rng, *, axis_name=None) -> state,
        from the embeddings of the whole training set; None for a method that mines nothing.
    histograms: state -> {name: f32[n]}, per-example quantities worth a picture after each refresh.
    """

    init: Callable[..., tuple[Params, State]]
    loss: Callable[..., tuple[Array, tuple[State, Metrics]]]
    refresh: Callable[..., State] | None = None
    histograms: Callable[[State], dict[str, Array]] = _no_histograms
