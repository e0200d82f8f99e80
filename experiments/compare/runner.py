"""Trains the runs of a grid, which share a teacher, and collects what they have written.

The state of a grid is in the workdirs alone: a finished run is not trained again, and an interrupted one resumes. A
crash therefore loses nothing.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tqdm

from experiments.compare import student_metrics
from experiments.compare.grid import Point
from experiments.compare.results import Run
from rdd_jax.core import io
from rdd_jax.core.errors import TrainingDiverged
from rdd_jax.core.processes import warn
from rdd_jax.core.progress import ImageBar, Progress
from rdd_jax.data import loading
from rdd_jax.runs import layout, naming, records
from rdd_jax.runs.config import RunConfig
from rdd_jax.training.run import train, train_shared
from rdd_jax.training.setup import make_sampler

# Keys of metrics.jsonl: the seconds that a run spends on embedding its training set, on mining and on measuring drift.
MINING_SECONDS = ("drift_seconds", "embed_seconds", "mine_seconds")
# Written into the workdir of a run that diverged, so that it is not tried again.
_DIVERGED = "diverged.json"


def run(points: Sequence[Point], shard: tuple[int, int] = (1, 1)) -> None:
    """Trains what is not finished, then computes the student metrics. A run that diverges is recorded and skipped.

    Args:
        points: the whole grid.
        shard: (i, n) with i from 1: trains every n-th run, from the i-th on.

    Raises:
        UserError: another process is training one of these runs, or a file is damaged.
    """
    own = points[shard[0] - 1 :: shard[1]]
    # All teachers of the grid, because a run that needs none reports the accuracy of a teacher that it finds.
    shared = {
        workdir: config for point in points for config, workdir in naming.required_runs(point.config, point.workdir)
    }
    work = {workdir: config for workdir, config in shared.items() if not _is_over(workdir)}
    work |= {point.workdir: point.config for point in own if not _is_over(point.workdir)}
    with ImageBar(sum(_count_images(config) for config in work.values())) as bar:
        for number, (workdir, config) in enumerate(work.items(), start=1):
            make_progress = partial(_progress, f"[{number}/{len(work)}]", bar)
            # What a run prints would break the grid's progress bar; it is in the run's files as well.
            with contextlib.redirect_stdout(None):
                if workdir in shared:
                    train_shared(config, workdir, make_progress)
                else:
                    _train(config, workdir, make_progress)
    for point in tqdm.tqdm(own, desc="student metrics", unit="run"):
        if records.is_finished(point.workdir):
            student_metrics.compute_if_missing(point.workdir)


def _is_over(workdir: Path) -> bool:
    return records.is_finished(workdir) or (workdir / _DIVERGED).exists()


def _progress(prefix: str, bar: ImageBar, title: str, **images: int) -> Progress:
    return Progress(f"{prefix} {title}", bar=bar, **images)


def _train(config: RunConfig, workdir: Path, make_progress: Callable[..., Progress]) -> None:
    try:
        train(config, workdir, make_progress)
    except TrainingDiverged as error:
        warn(f"{workdir.name}: {error}")
        io.write_json(workdir / _DIVERGED, {"message": str(error)})


def _count_images(config: RunConfig) -> int:
    sampler = make_sampler(config, loading.describe(config.data).num_train)
    return config.batch_size * sum(sampler.steps(epoch) for epoch in range(config.epochs))


def collect(points: Iterable[Point]) -> list[Run]:
    """Reads the runs that are finished or have diverged from their workdirs."""
    return [_collect_run(point) for point in points if _is_over(point.workdir)]


def _collect_run(point: Point) -> Run:
    finished = records.is_finished(point.workdir)
    lines = io.read_json_lines(point.workdir / layout.METRICS)
    test_lines = [line for line in lines if line["split"] == "test"]
    train_lines = [line for line in lines if line["split"] == "train"]
    return {
        "label": point.label,
        "seed": point.seed,
        "summary": records.read_summary(point.workdir) if finished else _diverged_summary(point.config),
        "epochs": [line["epoch"] for line in test_lines],
        "test_accuracy": [line["accuracy"] for line in test_lines],
        # Counted from the histograms: a run resumed in the middle of an epoch has lost the seconds of its last mining.
        "minings": len({line["step"] for line in io.read_json_lines(point.workdir / layout.HISTOGRAMS)}),
        "mining_seconds": sum(line.get(key, 0.0) for line in train_lines for key in MINING_SECONDS),
        "student_metrics": student_metrics.load_if_saved(point.workdir),
    }


def _diverged_summary(config: RunConfig) -> dict[str, Any]:
    results = dict.fromkeys(("accuracy", "best_accuracy", "nll", "ece"), math.nan)
    student = {"name": config.student.name, **results}
    return {"student": student, "teacher": None, "epochs": config.epochs, "wall_seconds": math.nan, "devices": ""}
