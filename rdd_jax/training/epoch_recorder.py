"""The lines of an epoch in the metric log: averages of the training, and the results of the evaluations."""

import time
from collections.abc import Collection

import jax
import numpy as np

from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.runs.config import RunConfig
from rdd_jax.steps import calibration
from rdd_jax.steps.train_state import TrainState, evaluated_variables
from rdd_jax.training.interruptible import InterruptibleRunner
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.nonfinite import NonFiniteError
from rdd_jax.training.setup import Experiment


class EpochRecorder:
    """Evaluates the student after an epoch, and writes the epoch's lines to the metric log.

    Args:
        config: of the run.
        experiment: the run's data and functions.
        log: receives the lines.
        clock: has measured compilation since the run was started.
        runner: shows the evaluations and ends them when a signal comes.
    """

    def __init__(
        self,
        config: RunConfig,
        experiment: Experiment,
        log: MetricLog,
        clock: CompilationTimer,
        runner: InterruptibleRunner,
    ):
        self._config = config
        self._experiment = experiment
        self._log = log
        self._clock = clock
        self._runner = runner
        self._evaluate = experiment.make_evaluate(experiment.student)
        self._logged_compile_seconds = 0.0
        # The wall time of a resumed run is that of all its processes.
        self._started = clock.started - log.seconds

    def record_training(self, state: TrainState, epoch: int, step: int, log_values: dict[str, float]) -> None:
        """Writes the averages over the updates of an epoch.

        Args:
            state: after the epoch; its metrics hold the averages.
            epoch: the number of epochs done.
            step: the number of updates done.
            log_values: seconds, speeds and counts that are written beside the averages.

        Raises:
            NonFiniteError: where every single update of the epoch was skipped.
        """
        averages = jax.device_get(state.metrics)
        metrics = {name: float(average.compute()) for name, average in averages.items() if average.count}
        if "loss" not in metrics:
            raise NonFiniteError(step)
        learning_rate = np.asarray(self._experiment.schedule(step - 1)).item()
        self._write(step, epoch, "train", {**metrics, "learning_rate": learning_rate, **log_values})

    def record_evaluation(
        self, state: TrainState, epoch: int, step: int, written: Collection[str] = ()
    ) -> float | None:
        """Evaluates the student, where that is due after this epoch, and writes the results.

        With `optimizer.ema` it is the moving average of the weights that is evaluated.

        Args:
            state: after the epoch.
            epoch: the number of epochs done.
            step: the number of updates done.
            written: the splits that have their lines already.

        Returns:
            The accuracy in percent that ranks the checkpoint: on the validation images, or on the test images where
            none are held out. None where nothing was evaluated.

        Raises:
            StopRequested: where the run was asked to stop.
        """
        if epoch % self._config.eval_every_epochs and epoch != self._config.epochs:
            return None
        ranking, variables = None, evaluated_variables(state)
        for split, data in (("validation", self._experiment.validation), ("test", self._experiment.test)):
            if data and split not in written:
                metrics, reliability = self._evaluate(variables, data, self._runner.on_batch("evaluating"))
                if split == "test":  # Before its line: a run that is stopped in between writes both again.
                    self._log.write_reliability(step, epoch, calibration.as_json(reliability))
                loss = metrics.pop("nll")  # The cross-entropy, under the same name as the loss in training.
                self._write(step, epoch, split, {"loss": loss, **metrics})
                ranking = metrics["accuracy"] if ranking is None else ranking
        return ranking

    def record_missing(self, state: TrainState, step: int) -> None:
        """Writes the missing lines of the epoch that ends with `state`, before the run resumes after it.

        The run may have been stopped during its evaluation, or metrics.jsonl may have been cut or lost.
        """
        starts = self._experiment.epoch_starts
        # After a rollback to the end of an epoch no losses have been averaged.
        if step not in starts[1:] or not state.metrics["loss"].count:
            return
        epoch = starts.index(step)
        written = {line["split"] for line in self._log.lines if line["step"] == step}
        if "train" not in written:
            self.record_training(state, epoch, step, {})
        self.record_evaluation(state, epoch, step, written)

    def _write(self, step: int, epoch: int, split: str, values: dict[str, float]) -> None:
        """Writes a line, with the seconds of compilation since the previous line and of the whole run so far."""
        compiled = self._clock.seconds
        seconds = {
            "compile_seconds": compiled - self._logged_compile_seconds,
            "seconds": time.perf_counter() - self._started,
        }
        self._logged_compile_seconds = compiled
        self._log.write_scalars(step, epoch, split, values | seconds)
