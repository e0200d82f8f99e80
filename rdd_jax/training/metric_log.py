"""The metric log of a run: metrics.jsonl, histograms.jsonl, reliability.json and TensorBoard events."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorboardX

from rdd_jax.core import io, processes
from rdd_jax.core.errors import UserError
from rdd_jax.runs.layout import HISTOGRAMS, METRICS, RELIABILITY

_EVENTS = "events"
_REQUIRED_KEYS = {METRICS: {"step", "epoch", "split", "seconds", "compile_seconds"}, HISTOGRAMS: {"step"}}
# An evaluation's lines and events are a few kilobytes. TensorBoard's writer has a thread of its own, which would fail
# with a traceback on a full disk.
_ROOM_BYTES = 2**18
_HISTOGRAM_BINS = 60


class MetricLog:
    """Writes the metrics of a run, and continues the log of a run that is resumed.

    Lines after the step of resumption are removed, as the resumed run writes them again. With several processes the
    main process alone writes; `lines` is the same in all of them.

    Args:
        workdir: of the run.
        step: the number of updates done; 0 for a new run.

    Attributes:
        lines: the content of metrics.jsonl.

    Raises:
        UserError: where a file is damaged, cannot be read or written, or there is no room on the disk.
    """

    def __init__(self, workdir: Path, step: int):
        self._workdir = workdir
        self.lines = [line for line in _read(workdir / METRICS) if line["step"] <= step]
        self._events: tensorboardX.SummaryWriter | None = None
        if processes.is_main_process():
            io.require_free_space(workdir, _ROOM_BYTES)
            _rewrite(workdir / METRICS, self.lines)
            with io.as_user_error(workdir / _EVENTS):
                self._events = tensorboardX.SummaryWriter(str(workdir / _EVENTS), purge_step=step + 1)
            # Mining before the first update after `step` is repeated on resume.
            self.remove_histograms(step)

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._events:
            self._events.close()

    @property
    def seconds(self) -> float:
        """Wall seconds that the run had taken when it wrote its last line."""
        return self.lines[-1]["seconds"] if self.lines else 0.0

    def write_scalars(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes one line of metrics.jsonl, and its values to TensorBoard.

        Args:
            step: the number of updates done.
            epoch: the number of epochs done.
            split: "train", "validation" or "test".
            values: by name.

        Raises:
            UserError: where they cannot be written.
        """
        line = {"step": step, "epoch": epoch, "split": split, **values}
        self.lines.append(line)
        if not self._events:
            return
        io.require_free_space(self._workdir, _ROOM_BYTES)
        io.append_json_line(self._workdir / METRICS, line)
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)
        self._events.flush()

    def write_reliability(self, step: int, epoch: int, bins: dict[str, Any]) -> None:
        """Writes reliability.json, which holds the last evaluation on the test images only.

        Args:
            step: the number of updates done.
            epoch: the number of epochs done.
            bins: as `calibration.as_json` returns them.

        Raises:
            UserError: where it cannot be written.
        """
        if self._events:
            io.require_free_space(self._workdir, _ROOM_BYTES)
            io.write_json(self._workdir / RELIABILITY, {"step": step, "epoch": epoch, **bins})

    def write_histogram(self, step: int, epoch: int, name: str, values: np.ndarray) -> None:
        """Writes a histogram of values f32[n] that were mined after `step` updates.

        Raises:
            UserError: where it cannot be written.
        """
        if not self._events:
            return
        counts, edges = np.histogram(values, bins=_HISTOGRAM_BINS)
        line = {"step": step, "epoch": epoch, "name": name, "mean": float(values.mean())}
        io.require_free_space(self._workdir, _ROOM_BYTES)
        io.append_json_line(self._workdir / HISTOGRAMS, {**line, "edges": edges.tolist(), "counts": counts.tolist()})
        # Filed under the next step, so that TensorBoard drops it when a resumed run mines again.
        self._events.add_histogram(name, values, step + 1)

    def remove_histograms(self, step: int) -> None:
        """Removes the histograms of minings after `step` or more updates."""
        if self._events:
            kept = [line for line in _read(self._workdir / HISTOGRAMS) if line["step"] < step]
            _rewrite(self._workdir / HISTOGRAMS, kept)

    def last_test_line(self) -> dict[str, Any]:
        """Returns the line of the last evaluation on the test images.

        Raises:
            IndexError: before the first evaluation.
        """
        return [line for line in self.lines if line["split"] == "test"][-1]

    def best_accuracy(self) -> float:
        """Returns the test accuracy, in percent, after the best epoch written so far; NaN where there is none.

        The best epoch is that of the highest accuracy on the validation images, or, where none are held out, on the
        test images themselves.
        """
        test, validation = (
            {line["step"]: line["accuracy"] for line in self.lines if line["split"] == split}
            for split in ("test", "validation")
        )
        ranking = validation or test
        steps = [step for step in ranking if step in test and np.isfinite(ranking[step])]
        return test[max(steps, key=ranking.__getitem__)] if steps else math.nan


def _read(path: Path) -> list[dict[str, Any]]:
    lines = io.read_json_lines(path)
    for line in lines:
        if missing := sorted(_REQUIRED_KEYS[path.name] - line.keys()):
            raise UserError(f"{path} has a line without {missing[0]}: restore the file, or delete it")
    return lines


def _rewrite(path: Path, lines: list[dict[str, Any]]) -> None:
    if path.exists():
        io.write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
