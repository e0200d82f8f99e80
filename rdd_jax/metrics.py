"""What a run writes down while it trains: metrics.jsonl, histograms.jsonl, TensorBoard events, the progress bar."""

import collections
import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorboardX
import tqdm

from rdd_jax import hosts
from rdd_jax.files import HISTOGRAMS, METRICS, read_lines, write_text

LAG = 4  # Calls that the host is ahead of the devices.


class RunLog:
    """The record of a run, of which metrics.jsonl is the truth; what stands in it after `step` is dropped on resume.

    Of several processes the first alone writes; the others know what they would have written.
    """

    def __init__(self, workdir: Path, step: int):
        self._workdir = workdir
        self.lines = [line for line in read_lines(workdir / METRICS) if line["step"] <= step]
        self._events = None
        if hosts.is_first():
            _write(workdir / METRICS, self.lines)
            # A table mined before a step belongs to that step: resuming from its start mines it again.
            before = [line for line in read_lines(workdir / HISTOGRAMS) if line["step"] < step]
            _write(workdir / HISTOGRAMS, before)
            self._events = tensorboardX.SummaryWriter(str(workdir / "events"), purge_step=step + 1)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._events:
            self._events.close()

    @property
    def seconds(self) -> float:
        """Wall seconds that the run had taken when it wrote its last line."""
        return self.lines[-1]["seconds"] if self.lines else 0.0

    def scalars(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes one line: `epoch` epochs done, `split` "train", "validation" or "test"."""
        line = {"step": step, "epoch": epoch, "split": split, **values}
        self.lines.append(line)
        if not self._events:
            return
        _append(self._workdir / METRICS, line)
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)
        self._events.flush()

    def histogram(self, step: int, epoch: int, name: str, values: np.ndarray) -> None:
        """Writes the distribution of f32[n] at that step."""
        if not self._events:
            return
        counts, edges = np.histogram(values, bins=60)
        line = {"step": step, "epoch": epoch, "name": name, "mean": float(values.mean())}
        _append(self._workdir / HISTOGRAMS, {**line, "edges": edges.tolist(), "counts": counts.tolist()})
        # Named by the step that it serves, so that a resume that mines again also purges it.
        self._events.add_histogram(name, values, step + 1)

    def best_accuracy(self) -> float:
        """Returns the test accuracy, in percent, after the best epoch written so far.

        The best epoch is that of the highest accuracy on the validation images, or, where none are held out, on the
        test images themselves.
        """
        test, validation = (
            {line["step"]: line["accuracy"] for line in self.lines if line["split"] == split}
            for split in ("test", "validation")
        )
        ranking = validation or test
        steps = [step for step in ranking if step in test and np.isfinite(ranking[step])]
        return test[max(steps, key=ranking.get)] if steps else math.nan


class Progress:
    """One bar over the whole run: epoch, loss, accuracy, images a second, time left.

    It reads a call's loss only some calls later, so that the devices always have work while the host waits: this also
    bounds how far the host runs ahead. A run of many is shown on the `bar` of them all.
    """

    def __init__(
        self, title: str, *, total_images: int, done_images: int, lag: int = LAG, bar: tqdm.tqdm | None = None
    ):
        self._bar = image_bar(total_images) if bar is None else bar
        self._closes = bar is None
        if not self._bar.disable:  # What was done before is no part of the speed.
            self._bar.initial += done_images
            self._bar.n += done_images
        self._title = title
        self.loss = 0.0  # As it was read last.
        self._waiting: collections.deque[tuple[str, int, dict[str, jax.Array]]] = collections.deque()
        self._lag = lag

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._closes:
            self._bar.close()

    def add(self, epoch: str, images: int, values: dict[str, jax.Array]) -> None:
        """Takes note of a call that was sent off: `epoch` such as "3/30", its images, and its running metrics."""
        self._waiting.append((epoch, images, values))
        if len(self._waiting) > self._lag:
            self._show(*self._waiting.popleft())

    def say(self, activity: str) -> None:
        """Shows what is done between the steps."""
        self._bar.set_description_str(f"{self._title} {activity}")

    def drain(self) -> None:
        """Waits for all the calls sent off."""
        while self._waiting:
            self._show(*self._waiting.popleft())

    def forget(self) -> None:
        """Counts the calls sent off without looking at what they found."""
        self._bar.update(sum(images for _, images, _ in self._waiting))
        self._waiting.clear()
        self.loss = 0.0

    def _show(self, epoch: str, images: int, values: dict[str, jax.Array]) -> None:
        self.loss, accuracy = float(values["loss"]), float(values["accuracy"])
        shown = f"{self._title} epoch {epoch} loss {self.loss:.3f} accuracy {accuracy:.1f}%"
        self._bar.set_description_str(shown, False)
        self._bar.update(images)


def image_bar(total_images: int) -> tqdm.tqdm:
    """A bar that counts images."""
    return tqdm.tqdm(
        total=total_images,
        unit="img",
        disable=not hosts.is_first(),
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,  # A log file wants few lines.
    )


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    if path.exists():
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
