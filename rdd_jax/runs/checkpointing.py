"""Checkpoints of a run: the only file that imports Orbax.

A checkpoint has three items: `student`, the variables that others load; `training`, all else that evolves; and
`checksums` of every array in the two, without which a flipped bit would be read as if it were right.
"""

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rdd_jax.core import devices, io, processes
from rdd_jax.core.errors import UserError
from rdd_jax.core.processes import warn
from rdd_jax.runs import layout
from rdd_jax.steps.train_state import TrainState

# Below every accuracy: what was not measured, or is not a number, is never the best.
_UNRANKED = -1.0
_CHECKSUMS = "checksums"
# What Orbax and TensorStore raise for files that cannot be read or written.
_LIBRARY_ERRORS = (OSError, ValueError, LookupError, TypeError)
# Of a state's bytes, and besides: what Orbax writes twice, and the metadata.
_ROOM, _ROOM_BYTES = 1.5, 2**20
_DAMAGED = "is damaged or of another network"


class Checkpoints:
    """The checkpoints of one workdir, written in the background; the two latest and the most accurate are kept.

    Of several processes the first alone reads and writes them, and the others get from it what it has read.

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
        self._folder, self._manager = _folder(workdir), None
        if not processes.is_main_process():
            return
        with io.as_user_error(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            best_fn=_accuracy,
            cleanup_tmp_directories=True,
            create=False,  # By one process alone: Orbax would wait for the others.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                active_processes={0}, barrier_sync_key_prefix="checkpoints"
            ),
        )
        _drop_damaged_ranks(self._folder)
        with _naming(self._folder, "is damaged", "delete what is damaged there"):
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        """Waits for the writes under way; their failure is told unless something else has failed before."""
        with contextlib.suppress(*_LIBRARY_ERRORS) if kind else self._writing():
            if self._manager:
                self._manager.close()

    def save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Starts to write `state`; `accuracy` in percent ranks it, None where it was not measured at this step.

        Raises:
            UserError: where this write cannot start, or the one before has failed, as on a full disk.
        """
        if not self._manager:
            return
        # Copies, as the devices' arrays are given up to the next update while these are written.
        state = jax.tree.map(np.array, jax.device_get(state))
        self.wait()
        # Orbax writes from many threads, each of which would fail with a traceback on a full disk.
        self.require_room(state)
        training = _without_student(state)
        items = ocp.args.Composite(
            student=ocp.args.StandardSave(state.student),
            training=ocp.args.StandardSave(training),
            **{_CHECKSUMS: ocp.args.JsonSave({"student": _checksums(state.student), "training": _checksums(training)})},
        )
        ranked = accuracy if accuracy is not None and np.isfinite(accuracy) else _UNRANKED
        with self._writing():
            self._manager.save(step, args=items, metrics={"accuracy": float(ranked)})

    def wait(self) -> None:
        """Waits for the write under way; raises UserError where it fails."""
        if self._manager:
            with self._writing():
                self._manager.wait_until_finished()

    def require_room(self, state: TrainState) -> None:
        """Raises UserError where there is no room on the disk for another checkpoint of a state, or of its shapes."""
        if self._manager:
            nbytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
            io.require_free_space(self._folder, int(_ROOM * nbytes) + _ROOM_BYTES)

    def _writing(self) -> contextlib.AbstractContextManager:
        mend = "make room, and the same command goes on from the checkpoint before, which is whole"
        return _naming(self._folder, "cannot be written", mend)

    def steps(self) -> list[int]:
        """The steps that are kept, in their order; of several processes the first alone knows them."""
        return sorted(self._manager.all_steps()) if self._manager else []

    def restore(self, like: TrainState, step: int | None = None) -> TrainState | None:
        """The state at that step, or the latest that is whole, replicated over the devices; None where there is none.

        Those that are damaged are named on stderr and renamed, so that the run can write their steps again.

        Args:
            like: the shapes, as `jax.eval_shape` gives them.
            step: one of `steps()`.

        Raises:
            UserError: where the checkpoint, or every one, is damaged or of another shape.
        """
        state = self._read_latest(like, step) if self._manager else None
        found = bool(processes.broadcast_from_main(np.array(state is not None)))
        if not found:
            return None
        if state is None:  # It comes from the first process, into the same shapes.
            state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
        return devices.replicate(processes.broadcast_from_main(state))

    def _read_latest(self, like: TrainState, step: int | None) -> TrainState | None:
        with self._writing():
            self._manager.wait_until_finished()
        damaged = []
        for candidate in reversed(self.steps()) if step is None else [step]:
            try:
                state = self._read(like, candidate)
            except UserError as error:
                damaged.append((candidate, error))
            else:
                self._set_aside(damaged)
                return state
        if damaged:
            raise damaged[0][1]
        return None

    def _read(self, like: TrainState, step: int) -> TrainState:
        folder, training = self._folder / str(step), _without_student(like)
        mend = "choose another --workdir, or delete this one to begin again"
        student = _restore(folder, "student", like.student, mend)
        return TrainState(student=student, **_restore(folder, "training", training, mend))

    def _set_aside(self, damaged: list[tuple[int, UserError]]) -> None:
        for step, error in damaged:
            folder = self._folder / str(step)
            aside = folder.with_name(f"damaged-{step}-{len(list(self._folder.glob(f'damaged-{step}-*')))}")
            folder.rename(aside)
            reason = str(error).rpartition(": ")[0]
            warn(f"{reason}: going on from the one before; it is kept as {aside.name}")
        if damaged:
            self._manager.reload()


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
    mend = f"delete {workdir / layout.SUMMARY} and run that run's command again, which goes on from the one before"
    return devices.replicate(_restore(folder, "student", like, mend))


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


def _restore(folder: Path, item: str, like: Any, mend: str) -> Any:
    """Reads an item of a checkpoint into NumPy arrays and compares it with its shapes and its checksums.

    Raises:
        UserError: where it cannot be read, or is not what was saved; the message ends with `mend`.
    """
    # Every process for itself, as it may be the only one that reads.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    with _naming(folder, _DAMAGED, mend):
        with ocp.StandardCheckpointer(multiprocessing_options=alone) as checkpointer:
            tree = checkpointer.restore(folder / item, empty)
        expected = dict(json.loads((folder / _CHECKSUMS / "metadata").read_bytes())[item])
    for (path, wanted), leaf in zip(jax.tree_util.tree_leaves_with_path(like), jax.tree.leaves(tree), strict=True):
        if (leaf.shape, leaf.dtype) != (wanted.shape, wanted.dtype):
            name = f"{item}{jax.tree_util.keystr(path)}"
            reason = f"{name} is {leaf.dtype}{leaf.shape}, and {wanted.dtype}{wanted.shape} is wanted"
            raise UserError(_message(folder, _DAMAGED, reason, mend))
    wrong = sorted(name for name, checksum in _checksums(tree).items() if expected.get(name) != checksum)
    if wrong:
        reason = f"{len(wrong)} arrays are not what was saved, the first is {item}{wrong[0]}"
        raise UserError(_message(folder, _DAMAGED, reason, mend))
    return tree


def _checksums(tree: Any) -> dict[str, int]:
    """The CRC-32 of every array's bytes, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8)) for path, leaf in leaves}


def _drop_damaged_ranks(folder: Path) -> None:
    """Orbax cannot open a folder in which one checkpoint's accuracy is damaged; without it that one is no best one."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            json.loads(path.read_bytes())["accuracy"]
        except (KeyError, TypeError, ValueError):
            path.unlink()
            warn(f"{path} is damaged: that checkpoint is not known to be the most accurate, and else as good as ever")


@contextlib.contextmanager
def _naming(folder: Path, trouble: str, mend: str) -> Iterator[None]:
    """Turns the errors of Orbax and TensorStore about their files into a UserError."""
    try:
        yield
    except _LIBRARY_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(_message(folder, trouble, reason, mend)) from error


def _message(folder: Path, trouble: str, reason: str, mend: str) -> str:
    return f"the checkpoint {folder} {trouble} ({reason}): {mend}"


def _without_student(state: TrainState) -> dict[str, Any]:
    return {name: value for name, value in state._asdict().items() if name != "student"}
