"""The trainer's loop over a made-up experiment, in which nothing but the state's check is compiled."""

import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from clu.metrics import Average

from rdd_jax.core import devices
from rdd_jax.core.compilation import CompilationTimer
from rdd_jax.core.errors import TrainingDiverged
from rdd_jax.core.io import read_json_lines
from rdd_jax.core.progress import Progress
from rdd_jax.data.pipeline import DeviceDataset
from rdd_jax.data.samplers import Sampler, SamplerOptions
from rdd_jax.runs.checkpointing import Checkpoints, restore_student
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.trained_models import TrainedModel
from rdd_jax.steps.calibration import Reliability
from rdd_jax.steps.evaluation import Evaluation
from rdd_jax.steps.mining import MiningOptions
from rdd_jax.steps.train_state import TrainState
from rdd_jax.training import trainer
from rdd_jax.training.metric_log import MetricLog
from rdd_jax.training.mining_schedule import MiningSchedule
from rdd_jax.training.preemption import StopRequested, StopSignal
from rdd_jax.training.trainer import Trainer

ROWS, EXAMPLES, EPOCHS, UPDATES = 4, 8, 3, 6
CONFIG = RunConfig(batch_size=ROWS, epochs=EPOCHS)


def state_at(step=0):
    """A state whose one weight counts the updates; its table is -1 until it is mined, then the weight of that time."""
    return devices.replicate(
        TrainState(
            step=np.int32(step),
            seed=np.int32(0),
            student={"params": {"updates": jnp.float32(step)}},
            distiller_params={},
            distiller_state={"table": jnp.float32(-1)},
            optimizer=(optax.ScaleByScheduleState(count=np.int32(step)),),
            metrics={"loss": Average(np.float32(step), np.int32(1))},
        )
    )


class Run:
    """An experiment of 3 epochs of 2 updates, and the means to train it in a workdir again and again.

    during: {activity: what is done when the progress bar shows it}.
    """

    def __init__(self, workdir, **settings):
        self.workdir, self.config = workdir, CONFIG.replaced(settings)
        self.poison, self.during, self.minings = {}, {}, []

    def experiment(self):
        def train_call(state, batches, teacher, steps):
            step = int(state.step) + 1
            loss = np.float32(np.nan if self.poison.pop(step, False) else 1)
            weights = {"params": {"updates": state.student["params"]["updates"] + 1}}
            metrics = {"loss": Average(np.float32(1), np.int32(1))}
            return state._replace(step=np.int32(step), student=weights, metrics=metrics), {
                "loss": loss,
                "accuracy": 0.0,
            }

        def embed(variables, images, on_batch):
            on_batch(EXAMPLES // 2, EXAMPLES), on_batch(EXAMPLES, EXAMPLES)
            return variables["params"]["updates"]

        def mine(state, student, teacher):
            self.minings.append((int(state.step), float(student)))
            return state._replace(distiller_state={"table": student})

        def evaluate(variables, dataset, on_batch):
            on_batch(1, 1)
            metrics = {"nll": 0.5, "accuracy": float(variables["params"]["updates"])}
            return Evaluation(metrics, Reliability(*np.eye(3)))

        images, labels = np.zeros((EXAMPLES, 1, 1, 1), np.uint8), np.zeros(EXAMPLES, np.int32)
        return SimpleNamespace(
            train=DeviceDataset(images, labels),
            test=DeviceDataset(images, labels),
            validation=None,
            student=None,
            epoch_starts=[0, 2, 4, 6],
            steps_per_call=1,
            sampler=Sampler(SamplerOptions("full"), EXAMPLES, ROWS),
            schedule=lambda step: 0.1,
            prepare_teacher=lambda first_step, batches, on_batch: ({}, {}),
            train_call=train_call,
            make_evaluate=lambda model: evaluate,
            make_embed=lambda model: embed,
            teacher=TrainedModel(None, {"params": {"updates": np.float32(0)}}),
            rank=None,
            mine=mine,
            mining_schedule=MiningSchedule(MiningOptions(kind="once", start_epoch=1)),
            irreducible_losses=None,
            histograms=lambda distiller: {"table": np.array([float(distiller["table"])])},
        )

    def train(self):
        """Returns the trainer, and whether it was interrupted."""
        with (
            Checkpoints(self.workdir) as checkpoints,
            CompilationTimer() as clock,
            StopSignal() as stop_signal,
            Progress("", total_images=UPDATES * ROWS, done_images=0) as progress,
        ):
            show = progress.set_status

            def say(activity):
                show(activity)
                for name, action in self.during.items():
                    if activity.startswith(name):
                        action(stop_signal)

            progress.set_status = say
            state = checkpoints.restore(state_at()) or state_at()
            with MetricLog(self.workdir, int(state.step)) as log:
                made = Trainer(self.config, self.experiment(), checkpoints, log, clock, stop_signal, progress, lag=0)
                try:
                    made.train(state)
                except StopRequested:
                    return made, True
        return made, False

    def final(self):
        with Checkpoints(self.workdir) as checkpoints:
            return checkpoints.restore(state_at())

    def lines(self):
        return [(line["step"], line["split"]) for line in read_json_lines(self.workdir / "metrics.jsonl")]

    def mined_at(self):
        return [line["step"] for line in read_json_lines(self.workdir / "histograms.jsonl")]


def test_the_average_of_the_weights_is_evaluated_and_loaded(tmp_path, monkeypatch):
    average, without = devices.replicate({"params": {"updates": jnp.float32(-1)}}), state_at
    monkeypatch.setitem(globals(), "state_at", lambda step=0: without(step)._replace(average=average))
    run = Run(tmp_path)
    run.train()
    lines = read_json_lines(tmp_path / "metrics.jsonl")
    assert [line["accuracy"] for line in lines if line["split"] == "test"] == [-1.0] * EPOCHS
    assert run.minings == [(2, 2.0)]  # By the weights themselves.
    assert float(run.final().student["params"]["updates"]) == UPDATES
    assert restore_student(tmp_path, jax.eval_shape(lambda: average)) == average


ALL_LINES = [(step, split) for step in (2, 4, 6) for split in ("train", "test")]


def ask(stop_signal):
    stop_signal.signal_name = "SIGTERM"


def test_a_run_mines_evaluates_and_saves(tmp_path):
    run = Run(tmp_path)
    assert run.train()[1] is False
    assert run.lines() == ALL_LINES
    assert run.minings == [(2, 2.0)]
    assert int(run.final().step) == UPDATES


def test_a_rollback_across_a_mining_mines_again_with_the_restored_weights(tmp_path, capsys):
    run = Run(tmp_path, nonfinite="rollback")
    run.poison = {3: True}  # After the mining before update 2, of which there is no checkpoint yet.
    run.train()
    assert "with the weights of update 2" in capsys.readouterr().err
    assert run.minings == [(2, 2.0), (3, 2.0)]
    assert float(run.final().distiller_state["table"]) == 2.0
    assert run.mined_at() == [3]


def test_a_rollback_that_keeps_the_table_does_not_mine_again(tmp_path):
    run = Run(tmp_path, nonfinite="rollback", checkpoint_every_epochs=0.5)
    run.poison = {4: True}
    run.train()
    assert run.minings == [(2, 2.0)]
    assert run.mined_at() == [2]


def test_what_a_rollback_has_lost_is_not_saved_half_done(tmp_path):
    run = Run(tmp_path, nonfinite="rollback")
    run.poison = {3: True}
    run.during = {"embedding": lambda stop_signal: ask(stop_signal) if len(run.minings) == 1 else None}
    made, interrupted = run.train()
    assert interrupted
    assert made.saved_step == 2
    run.during = {}
    run.train()
    assert run.minings == [(2, 2.0), (2, 2.0)]
    assert float(run.final().distiller_state["table"]) == 2.0


@pytest.mark.parametrize("activity", ["embedding by the student 4", "mining", "evaluating"])
def test_a_stop_is_heard_in_long_work_between_updates_and_nothing_is_lost(tmp_path, activity):
    straight, run = Run(tmp_path / "straight"), Run(tmp_path / "stopped", checkpoint_every_epochs=3.0)
    straight.train()
    run.during = {activity: ask}
    made, interrupted = run.train()
    assert interrupted
    assert made.saved_step == 2
    assert float(run.final().distiller_state["table"]) == -1.0
    assert run.lines() == ALL_LINES[: 1 if activity == "evaluating" else 2]
    run.during = {}
    run.train()
    assert run.lines() == ALL_LINES
    assert run.mined_at() == [2]
    assert float(run.final().distiller_state["table"]) == float(straight.final().distiller_state["table"])


def test_a_computation_that_was_asked_to_stop_is_left_behind(tmp_path):
    run, released = Run(tmp_path), threading.Event()
    run.during = {"mining": ask}
    experiment = run.experiment()
    experiment.mine = lambda *arguments: released.wait(60)
    run.experiment = lambda: experiment
    try:
        assert run.train()[1]
        assert not released.is_set()
    finally:
        released.set()


def test_an_error_in_a_long_computation_is_raised(tmp_path):
    run = Run(tmp_path)
    experiment = run.experiment()
    experiment.mine = lambda *arguments: 1 / 0
    run.experiment = lambda: experiment
    with pytest.raises(ZeroDivisionError):
        run.train()


def test_a_loss_that_is_not_finite_ends_the_run_and_its_state_is_not_saved(tmp_path):
    run = Run(tmp_path, checkpoint_every_epochs=0.5)
    run.poison = {4: True}
    with pytest.raises(TrainingDiverged, match=r"not finite by update 4, and the last good checkpoint is of update 3"):
        run.train()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 3]
    assert run.lines() == ALL_LINES[:2]


def test_a_state_that_is_not_finite_is_not_mined(tmp_path, monkeypatch):
    run = Run(tmp_path)
    monkeypatch.setattr(trainer, "_is_finite", lambda state: int(state.step) != 2)
    with pytest.raises(TrainingDiverged, match="not finite by update 2"):
        run.train()
    assert not run.minings


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_lines_that_were_cut_behind_the_last_checkpoint_are_written_again(tmp_path, cut):
    run = Run(tmp_path)
    run.train()
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:cut]) + '{"step": 6, "ep')
    made, _ = run.train()
    assert run.lines() == ALL_LINES[:cut] + [(6, "train"), (6, "test")][cut == 5 :]
    assert made._recorder._log.last_test_line()["accuracy"] == 6.0


def test_lines_are_written_again_where_the_file_is_gone(tmp_path):
    run = Run(tmp_path)
    run.train()
    (tmp_path / "metrics.jsonl").unlink()
    run.train()
    assert run.lines() == [(6, "train"), (6, "test")]


def test_a_run_goes_on_from_a_rollback_to_the_end_of_an_epoch(tmp_path):
    """Such a state has averaged no losses: the epoch that it ends has no line, and none can be written."""
    state = state_at(2)._replace(metrics={"loss": Average(np.float32(0), np.int32(0))})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, state, None)
    run = Run(tmp_path)
    run.train()
    assert run.lines() == ALL_LINES[2:]
