"""Progressive self-knowledge distillation (Kim et al. 2021)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.core.collectives import all_gather
from rdd_jax.core.types import Array, Batch, Distiller, Metrics, ModelOutput, Params, State
from rdd_jax.losses import logits
from rdd_jax.memory import replace_rows
from rdd_jax.methods._contrastive import check_labels
from rdd_jax.methods.registry import register
from rdd_jax.methods.scheduled import warmup


class PsKdState(NamedTuple):
    """The state of PS-KD.

    step: i32[], the number of batches so far.
    predictions: f32[N,classes], the student's latest probabilities for each training example, at first its label.
    """

    step: Array
    predictions: Array


@register
def ps_kd(
    training_labels: np.ndarray, epoch_starts: Sequence[int], *, final_share: float = 0.8, gigabytes: float = 8.0
) -> Distiller:
    """Progressive self-knowledge distillation (PS-KD, Kim et al. 2021): the student's past predictions as its teacher.

    The loss is the cross-entropy with (1 - a) * label + a * prediction. The prediction is that of the epoch before, for
    the augmented image of that epoch. The share a grows linearly with the epochs. The teacher's output is not read, and
    the method replaces `ce`. Of mixed images the label is the soft label, and an example's row in the table is the
    prediction for the latest mixed image in which it had the largest share.

    Args:
        training_labels: i32[N], the labels of the whole training set.
        epoch_starts: the first step of each epoch, ascending from 0.
        final_share: a in the last epoch, in [0, 1]; in the e-th of n epochs it is e / n of that.
        gigabytes: the largest size of the table of predictions, which each device and each checkpoint holds.

    Metrics:
        share: a.

    Raises:
        ValueError: if a share is outside of [0, 1], or a label is missing; `init` raises it for a table that is larger
            than allowed.
    """
    if not 0 <= final_share <= 1:
        raise ValueError(f"ps_kd: final_share must be in [0, 1]; got {final_share}")
    labels = check_labels("ps_kd", training_labels, needed=True)
    progress = warmup(len(epoch_starts), epoch_starts)

    def init(rng: Array, student_shapes: ModelOutput, teacher_shapes: ModelOutput) -> tuple[Params, PsKdState]:
        classes = student_shapes.logits.shape[-1]
        size = len(labels) * classes * 4 / 1e9
        if size > gigabytes:
            raise ValueError(
                f"ps_kd: predictions of {len(labels):,} examples and {classes:,} classes take {size:.1f} GB on each "
                f"device; if there is room, raise distill.ps_kd.gigabytes, which is {gigabytes}"
            )
        return {}, PsKdState(jnp.zeros((), jnp.int32), jax.nn.one_hot(labels, classes))

    def loss(
        params: Params,
        state: PsKdState,
        student: ModelOutput,
        teacher: ModelOutput,
        batch: Batch,
        *,
        rng: Array,
        axis_name: str | None = None,
    ) -> tuple[Array, tuple[State, Metrics]]:
        share = final_share * progress(state.step)
        target = jax.nn.one_hot(batch.labels, student.logits.shape[-1])
        target = target if batch.soft_labels is None else batch.soft_labels
        target = (1 - share) * target + share * state.predictions[batch.indices]
        probabilities = jax.nn.softmax(jax.lax.stop_gradient(student.logits))
        rows = all_gather((batch.indices, probabilities), axis_name)
        new = PsKdState(state.step + 1, replace_rows(state.predictions, *rows))
        return logits.cross_entropy(student.logits, target), (new, {"share": share})

    return Distiller(init, loss, needs_labels=True)
