"""The progress bar of a run: what it does, the time that remains, accuracy, loss and speed."""

import collections
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import tqdm

from rdd_jax.core import processes
from rdd_jax.core.types import OnBatch

LAG = 4  # Calls that the host is ahead of the devices.
_DELAY_SECONDS = 3.0
_LEAST_BAR = 10  # Columns.
_COLUMNS = 110  # Of a log file, which has no width of its own.


class ImageBar(tqdm.tqdm):
    """A bar that counts images, on one line of the terminal.

    Attributes:
        label: is shown before the bar.
        extras: are shown behind it as far as there is room, the most important first.
    """

    label = "starting"
    extras: Sequence[str] = ()

    def __init__(self, total_images: int):
        super().__init__(
            total=total_images,
            disable=not processes.is_first(),
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,  # A log file wants few lines.
        )
        self._shown_at = 0.0

    def __str__(self) -> str:
        meter = self.format_dict
        return format_line(self.label, self.extras, meter, meter["ncols"] or _COLUMNS)

    def display(self, *args: Any, **kwargs: Any) -> bool:
        """Shows the bar now, as tqdm does."""
        self._shown_at = self._time()
        return super().display(*args, **kwargs)

    def show(self, label: str) -> None:
        """Shows another label and no extras, not more often than the bar is drawn anyway."""
        self.label, self.extras = label, ()
        if not self.disable and self._time() - self._shown_at >= self.mininterval:
            self.refresh()


def format_line(label: str, extras: Sequence[str], meter: Mapping[str, Any], columns: int) -> str:
    """Formats the bar and its surroundings, no wider than a terminal of at least 40 columns.

    What does not fit beside a bar of 10 columns is left out: the speed, which is shown behind extras alone, then
    `extras` from their end. A label that is too long is cut.

    Args:
        label: shown before the bar.
        extras: shown behind the remaining time and before the speed, the most important first.
        meter: tqdm's `format_dict`.
        columns: of the terminal.
    """
    done, total, rate = meter["n"], meter["total"], meter["rate"]
    if not rate and meter["elapsed"]:
        rate = (done - meter["initial"]) / meter["elapsed"]
    share = min(1.0, done / total) if total else 1.0
    remaining = tqdm.tqdm.format_interval((total - done) / rate) if rate else "?"
    percent, behind = f": {int(100 * share):3d}%|", f"| {remaining} left"
    room = columns - len(percent) - len(behind) - _LEAST_BAR
    if len(label) > room:
        label = label[: max(room - 1, 0)] + "…"
    for extra in (*extras, f"{rate:,.0f} images/s") if rate and extras else extras:
        if len(label) + len(extra) + 2 > room:
            break
        behind += f", {extra}"
        room -= len(extra) + 2
    charset = tqdm.std.Bar.ASCII if meter["ascii"] else tqdm.std.Bar.UTF
    bar = format(tqdm.std.Bar(share, max(_LEAST_BAR, columns - len(label) - len(percent) - len(behind)), charset))
    return f"{label}{percent}{bar}{behind}"


@contextlib.contextmanager
def counted(activity: str) -> Iterator[OnBatch]:
    """Yields what a loop over batches of images calls after each; a loop of more than seconds is shown on a bar."""
    hidden = not processes.is_first()
    with tqdm.tqdm(desc=activity, unit=" images", leave=False, delay=_DELAY_SECONDS, disable=hidden) as bar:

        def after(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield after


class Progress:
    """Shows one run on a bar: its epoch, accuracy, loss and speed, or what it does between the updates.

    The loss of a call is read only some calls later, so that the devices always have work while the host waits; this
    also bounds how far the host runs ahead.

    Args:
        title: of the run, short.
        total_images: that the run trains on.
        done_images: of those, before this process.
        lag: calls after which a call's loss is read.
        bar: shared by many runs; the run's own unless given.

    Attributes:
        loss: as it was read last.
    """

    def __init__(self, title: str, *, total_images: int, done_images: int, lag: int = LAG, bar: ImageBar | None = None):
        self._bar = ImageBar(total_images) if bar is None else bar
        self._closes = bar is None
        if not self._bar.disable:  # What was done before is no part of the speed.
            self._bar.initial += done_images
            self._bar.n += done_images
        self._title = title
        self.loss = 0.0
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
        """Shows what is done between the updates."""
        self._bar.show(f"{self._title} {activity}")

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
        self._bar.label = f"{self._title} {epoch}"
        self._bar.extras = (f"accuracy {accuracy:.1f}%", f"loss {self.loss:.3f}")
        self._bar.update(images)
