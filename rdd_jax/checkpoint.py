"""Checkpoints of a run: the only file that imports Orbax.

A checkpoint has two items: `student`, the variables that others load, and `training`, all else that evolves.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rdd_jax import parallel
from rdd_jax.errors import UserError
from rdd_jax.train_state import TrainState

# Below every accuracy: what was not measured, or is not a number, is never the best.
_UNRANKED = -1.0


class Checkpoints:
    """The checkpoints of one workdir, written in the background; the two latest and the most accurate are kept.

    Args:
        workdir: of the run.
        keep_all: whether the others are kept, too.
    """

    def __init__(self, workdir: Path, keep_all: bool = False):
        keep = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(None if keep_all else 2),
                checkpoint_managers.BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False),
            ]
        )
        # Without `best_fn` Orbax does not write the metrics that the policy ranks by.
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep, best_fn=_accuracy, cleanup_tmp_directories=True
        )
        self._folder = _folder(workdir)
        with _named(self._folder, "delete what is damaged there"):
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        """Waits for the writes under way."""
        self._manager.close()

    def save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Starts to write `state`; `accuracy` in percent ranks it, None where it was not measured at this step."""
        items = ocp.args.Composite(
            student=ocp.args.StandardSave(state.student),
            training=ocp.args.StandardSave(_without_student(state)),
        )
        ranked = accuracy if accuracy is not None and np.isfinite(accuracy) else _UNRANKED
        self._manager.save(step, args=items, metrics={"accuracy": float(ranked)})

    def steps(self) -> list[int]:
        """The steps that are kept, in their order."""
        return sorted(self._manager.all_steps())

    def restore(self, like: TrainState, step: int | None = None) -> TrainState | None:
        """The state at that step, or the latest, replicated over the devices; None where there is none.

        Args:
            like: the shapes, as `jax.eval_shape` gives them.
            step: one of `steps()`.

        Raises:
            UserError: where the checkpoint is damaged or of another shape.
        """
        step = self._manager.latest_step() if step is None else step
        if step is None:
            return None
        items = ocp.args.Composite(
            student=ocp.args.StandardRestore(_replicated(like.student)),
            training=ocp.args.StandardRestore(_replicated(_without_student(like))),
        )
        with _named(self._folder / str(step), "delete it, and the run goes on from the one before"):
            restored = self._manager.restore(step, args=items)
        return TrainState(student=restored.student, **restored.training)


def _accuracy(metrics: dict[str, float]) -> float:
    return metrics["accuracy"]


def restore_student(workdir: Path, like: dict[str, Any]) -> dict[str, Any]:
    """The latest variables of another run's student, replicated over the devices.

    Args:
        workdir: of that run.
        like: shapes of the variables.

    Raises:
        UserError: where there is no checkpoint, or it is damaged or of another shape.
    """
    folder = _folder(workdir) / str(latest_step(workdir))
    with _named(folder, "train that run again, or give another"), ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder / "student", _replicated(like))


def latest_step(workdir: Path) -> int:
    """The step of the latest checkpoint in a workdir.

    Raises:
        UserError: where there is none.
    """
    folder = _folder(workdir)
    steps = ocp.utils.checkpoint_steps(folder) if folder.is_dir() else []
    if not steps:
        raise UserError(f"there is no checkpoint in {folder}: give the workdir of a run that has saved one")
    return max(steps)


def _folder(workdir: Path) -> Path:
    return workdir.absolute() / "checkpoints"


@contextlib.contextmanager
def _named(folder: Path, mend: str) -> Iterator[None]:
    """Orbax and TensorStore raise many kinds for a checkpoint that cannot be read; to a user they are one."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"the checkpoint {folder} is damaged or of another network ({reason}): {mend}") from error


def _without_student(state: TrainState) -> dict[str, Any]:
    return {name: value for name, value in state._asdict().items() if name != "student"}


def _replicated(shapes: Any) -> Any:
    sharding = parallel.replicated_sharding()
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)
