"""Checkpoints of a run: the only file that imports Orbax.

A checkpoint has three items: `student`, the variables that other runs load; `training`, the rest of the train state;
and `checksums` of every array in the two, by which damaged arrays are detected. Where the train state has a moving
average of the student's weights, that is `student`, and the weights themselves are in `training`.
"""

import contextlib
import json
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
from rdd_jax.runs import integrity, layout
from rdd_jax.steps.train_state import TrainState

# Below every accuracy, for checkpoints whose accuracy was not measured or is not finite.
_UNRANKED = -1.0
_CHECKSUMS = "checksums"
# Raised by Orbax and TensorStore for files that cannot be written, and for damaged files.
_WRITE_ERRORS = (OSError, ValueError)
_READ_ERRORS = (OSError, ValueError, LookupError, TypeError)
# Orbax writes some arrays twice, and metadata besides.
_SPACE_FACTOR, _SPACE_BYTES = 1.5, 2**20


class Checkpoints:
    """The checkpoints of one workdir, written in the background; the two latest and the most accurate are kept.

    With several processes the main process alone reads and writes them, and sends to the others what it has read.

    Args:
        workdir: of the run.
        keep_all: keeps all checkpoints.

    Raises:
        UserError: where the folder of checkpoints cannot be made or read.
    """

    def __init__(self, workdir: Path, keep_all: bool = False):
        self._folder = _folder(workdir)
        self._manager: ocp.CheckpointManager | None = None
        if not processes.is_main_process():
            return
        with io.as_user_error(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        integrity.delete_damaged_metrics(self._folder)
        with _as_user_error(_READ_ERRORS, self._folder, "is damaged", "delete what is damaged there"):
            self._manager = ocp.CheckpointManager(self._folder, options=_manager_options(keep_all))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Waits for the write in progress; raises its failure unless another error is being raised."""
        with contextlib.suppress(*_WRITE_ERRORS) if kind else self._writing():
            if self._manager:
                self._manager.close()

    def save(self, step: int, state: TrainState, accuracy: float | None) -> None:
        """Starts to write a state in the background.

        Args:
            step: the number of updates done.
            state: replicated over the devices.
            accuracy: ranks the checkpoint, in percent; None where it was not measured at this step.

        Raises:
            UserError: where this write cannot start, or the previous one has failed, as on a full disk.
        """
        if not self._manager:
            return
        # Copies: the next update takes over the devices' arrays while these are written.
        state = jax.tree.map(np.array, jax.device_get(state))
        self.wait()
        # Orbax writes from many threads, each of which would fail with a traceback on a full disk.
        self.require_room(state)
        student, training = _split(state)
        checksums = {"student": integrity.checksums(student), "training": integrity.checksums(training)}
        items = ocp.args.Composite(
            student=ocp.args.StandardSave(student),
            training=ocp.args.StandardSave(training),
            **{_CHECKSUMS: ocp.args.JsonSave(checksums)},
        )
        ranked = accuracy if accuracy is not None and np.isfinite(accuracy) else _UNRANKED
        with self._writing():
            self._manager.save(step, args=items, metrics={"accuracy": float(ranked)})

    def wait(self) -> None:
        """Waits for the write in progress; raises UserError where it fails."""
        if self._manager:
            with self._writing():
                self._manager.wait_until_finished()

    def require_room(self, state: TrainState) -> None:
        """Raises UserError where the disk has no room for another checkpoint of a state, or of its shapes."""
        if self._manager:
            nbytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
            io.require_free_space(self._folder, int(_SPACE_FACTOR * nbytes) + _SPACE_BYTES)

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints in ascending order; in other processes than the main process []."""
        return sorted(self._manager.all_steps()) if self._manager else []

    def restore(self, shapes: TrainState, step: int | None = None) -> TrainState | None:
        """Reads a state and replicates it over the devices.

        Without `step`, damaged checkpoints are skipped: a warning names them, and they are renamed, so that the run can
        save their steps again.

        Args:
            shapes: the shapes of the state, as `jax.eval_shape` returns them.
            step: one of `steps()`; None for the latest intact checkpoint.

        Returns:
            The state; None where there is no checkpoint.

        Raises:
            UserError: where the checkpoint, or every one, is damaged or of other shapes.
        """
        state = self._read_latest(shapes, step) if self._manager else None
        if not processes.broadcast_flag_from_main(state is not None):
            return None
        if state is None:  # The other processes receive the state into arrays of the same shapes.
            state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return devices.replicate(processes.broadcast_from_main(state))

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        hint = "make room, and run the same command again to resume from the previous checkpoint, which is intact"
        return _as_user_error(_WRITE_ERRORS, self._folder, "cannot be written", hint)

    def _read_latest(self, shapes: TrainState, step: int | None) -> TrainState | None:
        self.wait()
        damaged: list[tuple[int, UserError]] = []
        for candidate in reversed(self.steps()) if step is None else [step]:
            try:
                state = self._read(shapes, candidate)
            except UserError as error:
                damaged.append((candidate, error))
            else:
                self._quarantine(damaged)
                return state
        if damaged:
            raise damaged[0][1]
        return None

    def _read(self, shapes: TrainState, step: int) -> TrainState:
        folder, hint = self._folder / str(step), "choose another --workdir, or delete this one to begin again"
        student_shapes, training_shapes = _split(shapes)
        student = _read_item(folder, "student", student_shapes, hint)
        training = _read_item(folder, "training", training_shapes, hint)
        return TrainState(**training, **{"student" if shapes.average is None else "average": student})

    def _quarantine(self, damaged: list[tuple[int, UserError]]) -> None:
        for step, error in damaged:
            renamed = integrity.quarantine(self._folder / str(step))
            reason = str(error).rpartition(": ")[0]
            warn(f"{reason}: resuming from the previous checkpoint; the damaged one is kept as {renamed.name}")
        if damaged and self._manager:
            self._manager.reload()


def restore_student(workdir: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    """Reads the latest variables of another run's student and replicates them over the devices.

    Args:
        workdir: of that run.
        shapes: the shapes of the variables.

    Raises:
        UserError: where there is no checkpoint, or it is damaged or of other shapes.
    """
    folder = _folder(workdir) / str(latest_step(workdir))
    hint = f"delete {workdir / layout.SUMMARY} and run that run's command again to resume from an earlier checkpoint"
    return devices.replicate(_read_item(folder, "student", shapes, hint))


def latest_step(workdir: Path) -> int:
    """Returns the step of the latest checkpoint in a workdir.

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


def _split(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the content of the items `student` and `training`."""
    rest = {name: value for name, value in state._asdict().items() if name != "average"}
    if state.average is None:
        return rest.pop("student"), rest
    return state.average, rest


def _accuracy(metrics: dict[str, float]) -> float:
    return metrics["accuracy"]


def _manager_options(keep_all: bool) -> ocp.CheckpointManagerOptions:
    latest = checkpoint_managers.LatestN(None if keep_all else 2)
    best = checkpoint_managers.BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False)
    return ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
        best_fn=_accuracy,  # Without it Orbax does not write the metrics that the policy ranks by.
        cleanup_tmp_directories=True,
        create=False,  # Orbax would wait for the other processes.
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            active_processes={0}, barrier_sync_key_prefix="checkpoints"
        ),
    )


def _read_item(folder: Path, item: str, shapes: Any, hint: str) -> Any:
    """Reads an item of a checkpoint into NumPy arrays, and checks their shapes and checksums.

    Raises:
        UserError: where it cannot be read, or is not what was saved; the message ends with `hint`.
    """
    # Without waiting for other processes, as this one may be the only one that reads.
    this_process = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )
    targets = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with _as_user_error(_READ_ERRORS, folder, "is damaged or of another network", hint):
        with ocp.StandardCheckpointer(multiprocessing_options=this_process) as checkpointer:
            tree = checkpointer.restore(folder / item, targets)
        expected = dict(json.loads((folder / _CHECKSUMS / "metadata").read_bytes())[item])
        if mismatch := integrity.find_mismatch(tree, shapes, expected, item):
            raise ValueError(mismatch)
    return tree


@contextlib.contextmanager
def _as_user_error(errors: tuple[type[Exception], ...], folder: Path, problem: str, hint: str) -> Iterator[None]:
    """Turns errors of Orbax and TensorStore about their files into a UserError."""
    try:
        yield
    except errors as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"the checkpoint {folder} {problem} ({reason}): {hint}") from error
