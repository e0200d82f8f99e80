"""The progress bar of a run: its current activity, remaining time, accuracy, loss and speed.

It is a line of text in a terminal, and in a notebook the widget of tqdm, which needs ipywidgets.
"""

import contextlib
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from tqdm.auto import tqdm
from tqdm.std import Bar  # pyrefly: ignore[missing-module-attribute], which the stubs of tqdm lack

from rdd_jax.core import processes
from rdd_jax.core.types import OnBatch

_DELAY_SECONDS = 3.0  # A loop that is shorter shows no bar.
_MIN_BAR_COLUMNS = 10
_LOG_COLUMNS = 110  # The width of a line in a log file, which has none of its own.
_WIDGET_COLUMNS = 150  # The same of a notebook's widget.


def is_interactive() -> bool:
    """Tells a terminal and a notebook from a log file."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class ImageBar(tqdm):
    """A progress bar that counts images, on one line.

    Attributes:
        label: text before the bar.
        extras: texts after the bar, the most important first; those that do not fit are left out.
    """

    label = "starting"
    extras: Sequence[str] = ()

    def __init__(self, total_images: int) -> None:
        super().__init__(
            total=total_images,
            disable=not processes.is_main_process(),
            dynamic_ncols=True,
            mininterval=0.2 if is_interactive() else 10.0,  # Few lines in a log file.
        )
        self._shown_at = 0.0

    def format_meter(self, **meter: Any) -> str:  # pyrefly: ignore[bad-override], as tqdm calls it on the bar
        """Formats the bar from tqdm's `format_dict`; a widget in addition sets its `bar_format`."""
        columns = None if meter["bar_format"] else meter["ncols"] or _LOG_COLUMNS
        return format_line(self.label, self.extras, meter, columns)

    def display(self, *args: Any, **kwargs: Any) -> None:
        """Draws the bar, as tqdm does, and notes the time."""
        self._shown_at = time.monotonic()
        super().display(*args, **kwargs)

    def set_label(self, label: str) -> None:
        """Replaces the label and removes the extras. Draws the bar unless it was drawn very recently."""
        self.label, self.extras = label, ()
        if not self.disable and time.monotonic() - self._shown_at >= self.mininterval:
            self.refresh()


def format_line(label: str, extras: Sequence[str], meter: Mapping[str, Any], columns: int | None) -> str:
    """Formats the progress bar with its texts, to fit a terminal of at least 40 columns.

    The bar has at least 10 columns. To fit, the speed is left out first, then `extras` from the end; a label that is
    too long is cut. Without extras the speed is not shown.

    Args:
        label: text before the bar.
        extras: texts between the remaining time and the speed, the most important first.
        meter: tqdm's `format_dict`.
        columns: the width of the terminal; None for a widget, which draws the bar itself in place of "<bar/>".
    """
    done, total, rate = meter["n"], meter["total"], meter["rate"]
    if not rate and meter["elapsed"]:
        rate = (done - meter["initial"]) / meter["elapsed"]
    share = min(1.0, done / total) if total else 1.0
    remaining = tqdm.format_interval((total - done) / rate) if rate else "?"
    percent, behind = f": {int(100 * share):3d}%|", f"| {remaining} left"
    room = (columns or _WIDGET_COLUMNS) - len(percent) - len(behind) - _MIN_BAR_COLUMNS
    if len(label) > room:
        label = label[: max(room - 1, 0)] + "…"
    for extra in (*extras, f"{rate:,.0f} images/s") if rate and extras else extras:
        if len(label) + len(extra) + 2 > room:
            break
        behind += f", {extra}"
        room -= len(extra) + 2
    if columns is None:
        return f"{label}{percent}<bar/>{behind}"
    charset = Bar.ASCII if meter["ascii"] else Bar.UTF
    bar = format(Bar(share, max(_MIN_BAR_COLUMNS, columns - len(label) - len(percent) - len(behind)), charset))
    return f"{label}{percent}{bar}{behind}"


@contextlib.contextmanager
def image_progress(activity: str) -> Generator[OnBatch]:
    """Shows a progress bar for a loop over batches of images, if it takes more than a few seconds.

    Yields a function to call after each batch with the number of images that are done and of all images.
    """
    with contextlib.ExitStack() as stack:
        bar: tqdm | None = None

        def on_batch(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:  # A widget must know the total from the beginning.
                hidden, options = not processes.is_main_process(), {"unit": " images", "leave": False}
                bar = tqdm(desc=activity, total=total, initial=done, delay=_DELAY_SECONDS, disable=hidden, **options)
                stack.enter_context(bar)
            bar.update(done - bar.n)

        yield on_batch


class Progress:
    """Shows one training run on a progress bar: epoch, accuracy, loss and speed, or its current activity.

    Args:
        title: a short name of the run.
        total_images: the number of images in all epochs.
        done_images: those of them that an earlier process has trained on.
        bar: a bar shared by several runs; by default the run has its own.
    """

    def __init__(
        self,
        title: str,
        *,
        total_images: int,
        done_images: int,
        bar: ImageBar | None = None,
    ) -> None:
        self._bar = ImageBar(total_images) if bar is None else bar
        self._owns_bar = bar is None
        if not self._bar.disable:
            self._bar.initial += done_images  # tqdm leaves these out of the speed.
            self._bar.n += done_images
        self._title = title

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._owns_bar:
            self._bar.close()

    def set_status(self, activity: str) -> None:
        """Shows an activity between the updates, such as "mining"."""
        self._bar.set_label(f"{self._title} {activity}")

    def show_metrics(self, epoch: str, *, loss: float, accuracy: float) -> None:
        """Sets the texts of the bar, which `advance` draws: the epoch such as "3/30", loss and accuracy in percent."""
        self._bar.label = f"{self._title} {epoch}"
        self._bar.extras = (f"accuracy {accuracy:.1f}%", f"loss {loss:.3f}")

    def advance(self, num_images: int) -> None:
        """Counts so many more images as done."""
        self._bar.update(num_images)
