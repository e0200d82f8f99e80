"""Several teachers as one: the weighted mean of their probabilities or logits, and all their embeddings side by side.

A weighted sum of KL divergences to several teachers has the same gradient as one KL divergence to the mean of their
probabilities, and concatenated embeddings of unit length have the mean of the teachers' cosines. Every method and
mining therefore takes the combined output as that of a single teacher.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdd_jax.core.errors import unknown_name_message
from rdd_jax.core.types import Array, ModelOutput
from rdd_jax.losses.numerics import l2_normalize

COMBINATIONS = ("probabilities", "logits")
WEIGHTS = ("equal", "entropy", "confidence")


class Member(NamedTuple):
    """One of several teachers.

    name: of its network.
    checkpoint: the workdir of a run, or a file of weights.
    """

    name: str
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """Several teachers: keys of the section `teacher` of a configuration.

    members: NAME@CHECKPOINT,NAME@CHECKPOINT,... with the network and the workdir, or file of weights, of each; "" for a
        single teacher.
    combine: "probabilities" takes the mean of the teachers' probabilities at `combine_temperature`, "logits" that of
        their logits.
    combine_temperature: of the probabilities. At the temperature of a KL divergence, that divergence has the gradient
        of the weighted sum of the divergences to the single teachers.
    weights: "equal"; "entropy", for each image larger for a teacher whose probabilities have a lower entropy (EBKD,
        Kwon et al. 2020); "confidence", for each training image larger for a teacher with a lower cross-entropy
        (CA-MKD, Zhang et al. 2022); or one number for each teacher, as in "0.7,0.3".

    Raises:
        ValueError: for a value out of its range.
    """

    members: str = ""
    combine: str = "probabilities"
    combine_temperature: float = 4.0
    weights: str = "equal"

    def __post_init__(self) -> None:
        if self.combine not in COMBINATIONS:
            raise ValueError(unknown_name_message("teacher.combine", self.combine, COMBINATIONS))
        if not 0 < self.combine_temperature < math.inf:
            raise ValueError(f"teacher.combine_temperature must be above 0; got {self.combine_temperature}")
        members = self.parsed_members()
        if self.members and (len(members) < 2 or not all(name and checkpoint for name, checkpoint in members)):
            raise ValueError(
                "teacher.members must be NAME@CHECKPOINT,NAME@CHECKPOINT, the networks and the workdirs or files of "
                f"weights of two teachers or more; got {self.members!r}"
            )
        if self.weights not in WEIGHTS:
            shares = self.parsed_weights()
            if len(shares) != len(members) or not all(0 <= share < math.inf for share in shares) or not any(shares):
                raise ValueError(
                    f"teacher.weights must be {', '.join(WEIGHTS)}, or a number for each of the {len(members)} members "
                    f"that is not negative, as in 0.7,0.3; got {self.weights!r}"
                )

    def parsed_members(self) -> tuple[Member, ...]:
        """Returns the teachers in their order; () for a single teacher."""
        pairs = (member.strip().partition("@") for member in self.members.split(",") if self.members)
        return tuple(Member(name, checkpoint) for name, _, checkpoint in pairs)

    def parsed_weights(self) -> tuple[float, ...]:
        """Returns the numbers in `weights`; () if there are none."""
        try:
            return tuple(map(float, self.weights.split(",")))
        except ValueError:
            return ()


def member_weights(logits: Array, weights: str | Sequence[float], labels: Array | None = None) -> Array:
    """Computes the weight of each teacher.

    Args:
        logits: f32[k,b,classes], of k teachers.
        weights: one of WEIGHTS, or k numbers.
        labels: i32[b]. Without them "confidence" means equal weights.

    Returns:
        f32[k,b], or f32[k,1] where the weights are the same for all images. Their sum over the teachers is 1.
    """
    teachers = len(logits)
    if weights == "entropy":
        log_probabilities = jax.nn.log_softmax(logits)
        entropies = -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)
        # All entropies are 0 where all teachers are certain: the remainders are then equal.
        remainders = 1 - entropies / jnp.maximum(jnp.sum(entropies, axis=0), 1e-12)
        return remainders / jnp.sum(remainders, axis=0)
    if weights == "confidence" and labels is not None:
        losses = jax.vmap(optax.losses.softmax_cross_entropy_with_integer_labels, in_axes=(0, None))(logits, labels)
        return (1 - jax.nn.softmax(losses, axis=0)) / (teachers - 1)
    return jnp.array(_shares(teachers, weights), logits.dtype)[:, None]


def combine(
    outputs: Sequence[ModelOutput],
    labels: Array | None = None,
    *,
    weights: str | Sequence[float] = "equal",
    combination: str = "probabilities",
    temperature: float = 4.0,
) -> ModelOutput:
    """Combines the outputs of several teachers for the same batch.

    The embedding does not depend on the image's own weights, because embeddings are compared with those of other
    images: "entropy" and "confidence" mean equal weights there.

    Args:
        outputs: of k teachers.
        labels: i32[b]; see `member_weights`.
        weights: one of WEIGHTS, or k numbers.
        combination: one of COMBINATIONS.
        temperature: of the probabilities.

    Returns:
        logits f32[b,classes], whose softmax at `temperature` is the mean of the teachers' probabilities at it, or which
        are the mean of their logits; embedding f32[b,d1+...+dk], of unit length; no feature maps.
    """
    logits = jnp.stack([output.logits for output in outputs])
    each = member_weights(logits, weights, labels)[..., None]
    if combination == "probabilities":
        log_probabilities = jax.nn.log_softmax(logits / temperature)
        combined = temperature * jax.scipy.special.logsumexp(log_probabilities, axis=0, b=each)
    else:
        combined = jnp.sum(each * logits, axis=0)
    shares = np.sqrt(_shares(len(outputs), weights))
    embeddings = [share * l2_normalize(output.embedding) for share, output in zip(shares, outputs, strict=True)]
    return ModelOutput(combined, jnp.concatenate(embeddings, axis=-1))


def combine_by(options: EnsembleOptions) -> Callable[..., ModelOutput]:
    """Returns `combine` with the options of a configuration."""
    return partial(
        combine,
        weights=options.parsed_weights() or options.weights,
        combination=options.combine,
        temperature=options.combine_temperature,
    )


def _shares(teachers: int, weights: str | Sequence[float]) -> np.ndarray:
    """Returns f[k] with the sum 1: the numbers in `weights`, or equal ones."""
    numbers = np.ones(teachers) if isinstance(weights, str) else np.asarray(weights, float)
    return numbers / numbers.sum()
