"""Whole runs on the embedded digits, small enough for a test: files, resumption, devices."""

import argparse
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from program import assert_same_to_the_bit, assert_same_up_to_rounding, final_arrays, finish, history, kill_at
from settings import run_config

import rdd_jax
from configs import rdd
from rdd_jax.core import devices
from rdd_jax.core.io import read_json_lines
from rdd_jax.data import datasets
from rdd_jax.data.samplers import epoch_batches
from rdd_jax.main import main
from rdd_jax.runs import trained_models
from rdd_jax.training import setup


def outputs_computed(workdir):
    lines = read_json_lines(workdir / "metrics.jsonl")
    return [line["teacher_outputs_computed"] for line in lines if line["split"] == "train"]


def test_a_run_leaves_what_the_design_promises(straight, trained_runs):
    summary = json.loads((straight / "summary.json").read_text())
    assert {"method", "dataset", "seed", "epochs", "steps", "wall_seconds", "finished", "versions"} <= summary.keys()
    assert summary["method"] == "rdd"
    assert summary["versions"]["rdd_jax"].startswith(rdd_jax.__version__)
    assert summary["steps"] == 15
    lines = read_json_lines(straight / "metrics.jsonl")
    tests = [line for line in lines if line["split"] == "test"]
    assert [line["step"] for line in tests] == [5, 10, 15]
    assert summary["student"]["accuracy"] == tests[-1]["accuracy"]
    assert summary["student"]["top5_accuracy"] == tests[-1]["top5_accuracy"]
    assert summary["teacher"]["accuracy"] <= summary["teacher"]["top5_accuracy"] <= 100
    assert summary["student"]["best_accuracy"] == max(line["accuracy"] for line in tests)
    record = json.loads((straight / "teacher.json").read_text())
    assert record["place"] == str(trained_runs / "teacher-digits-resnet8-seed0")
    assert {key: summary["teacher"][key] for key in ("name", "accuracy", "fingerprint")} == {
        "name": "resnet8",
        "accuracy": json.loads((Path(record["place"]) / "summary.json").read_text())["student"]["accuracy"],
        "fingerprint": record["fingerprint"],
    }
    told = straight.with_name("straight.log").read_text()
    sentence = f"teacher resnet8: 77,754 parameters, {record['accuracy']:.2f}% of the test images"
    assert 0 < told.find(sentence) < told.find("rdd compiling")
    assert [line["epoch"] for line in read_json_lines(straight / "histograms.jsonl")] == [1, 2]
    for name in ("config.json", "report.html", "figures/curves.png", "figures/confusion.png"):
        assert (straight / name).stat().st_size > 500
    assert list((straight / "events").iterdir())


def test_it_learns(straight):
    losses = [line["ce/loss"] for line in history(straight) if line["split"] == "train"]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.stress
def test_rdd_reaches_a_floor_of_accuracy_on_digits(start):
    """Trains eight epochs of the paper's objective. On one CPU device it reached 97.22 %, as did its teacher."""
    recipe = {"epochs": 8, "batch_size": 64, "checkpoint_every_epochs": 8, "mining.epochs": 5}
    recipe |= {"teacher.name": "resnet8", "teacher.epochs": 8, "teacher.seed": 1}  # Not the teacher of other tests.
    workdir = finish(*start("floor", *(f"--config.{key}={value}" for key, value in recipe.items())))
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["student"]["accuracy"] >= 95
    assert summary["teacher"]["accuracy"] >= 93


def test_nothing_is_compiled_twice(straight):
    """The first epoch compiles the step and the evaluation, the second the mining, the third has all it needs."""
    compiled = {
        (line["epoch"], line["split"]): line["compile_seconds"] for line in read_json_lines(straight / "metrics.jsonl")
    }
    assert compiled[1, "train"] > 0
    assert compiled[1, "test"] > 0
    assert compiled[2, "train"] > 0
    assert [compiled[2, "test"], compiled[3, "train"], compiled[3, "test"]] == [0, 0, 0]
    summary = json.loads((straight / "summary.json").read_text())
    assert 0 < summary["compile_seconds"] == sum(compiled.values()) < summary["wall_seconds"]


def test_latest_and_best_checkpoints_are_kept(straight):
    tests = {line["step"]: line["accuracy"] for line in history(straight) if line["split"] == "test"}
    kept = {int(folder.name) for folder in (straight / "checkpoints").iterdir()}
    # Checkpoints stand at every third step and at the end; of these, 15 alone ends an epoch and has an accuracy.
    assert {12, 15} <= kept
    assert len(kept) <= 3
    assert 15 in tests


def test_a_finished_run_is_not_run_again(start, straight):
    before = (straight / "metrics.jsonl").read_bytes()
    finish(*start("straight"))
    assert (straight / "metrics.jsonl").read_bytes() == before


def test_evaluation_finds_the_accuracy_that_the_run_ended_with(straight, capsys):
    assert main(["main", "--mode=evaluate", f"--workdir={straight}"]) == 0
    printed, last = json.loads(capsys.readouterr().out), read_json_lines(straight / "metrics.jsonl")[-1]
    expected = {"nll": last["loss"], **{name: last[name] for name in ("accuracy", "top5_accuracy", "ece", "aurc")}}
    assert printed == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}
    student = json.loads((straight / "summary.json").read_text())["student"]
    assert {name: student[name] for name in expected} == expected
    bins = json.loads((straight / "reliability.json").read_text())
    assert (bins["step"], sum(bins["counts"])) == (last["step"], 360)


@pytest.mark.slow
def test_a_student_goes_out_and_comes_back_as_a_teacher(start, straight):
    assert main(["main", "--mode=export", f"--workdir={straight}"]) == 0
    file = straight / "export" / "student.safetensors"
    if importlib.util.find_spec("torch"):
        import torch

        weights = {key: torch.from_numpy(array) for key, array in safetensors.numpy.load_file(file).items()}
        file = straight.parent / "resnet8_last.pth"
        torch.save({"opt": argparse.Namespace(), "model": weights}, file)
    workdir = finish(*start("taught", f"--config.teacher.checkpoint={file}"))
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (workdir, straight))
    assert ours["teacher"]["name"] == theirs["student"]["name"]
    for key in ("accuracy", "parameters", "multiply_adds"):
        assert ours["teacher"][key] == theirs["student"][key]


@pytest.mark.stress
def test_what_sampler_and_refresh_go_by_survives_a_kill(start):
    """A curriculum of 0.5, 0.75, 1 of the 5 steps, ranked once, and a refresh that looks for drift in epoch 3."""
    options = ["--config.sampler.kind=curriculum", "--config.sampler.start_fraction=0.5"]
    options += ["--config.sampler.pace_epochs=2", "--config.sampler.scoring_epochs=0"]
    options += ["--config.mining.kind=adaptive", "--config.mining.probe=200"]
    straight = finish(*start("adaptive", *options))
    process, workdir = start("adaptive_killed", *options)
    kill_at(8, process, workdir)  # Well after what is found before epoch 3.
    finish(*start("adaptive_killed", *options))
    assert_same_to_the_bit(workdir, straight, 11)
    lines = [line for line in read_json_lines(workdir / "metrics.jsonl") if line["split"] == "train"]
    assert [line["step"] for line in lines] == [2, 6, 11]
    assert ["mine_seconds" in line for line in lines[:2]] == [False, True]
    assert ["drift_pool" in line for line in lines] == [False, False, True]
    assert 0 < lines[2]["drift_pool"] <= 1
    seconds = [
        line["drift_seconds"] for line in read_json_lines(straight / "metrics.jsonl") if line["split"] == "train"
    ]
    assert seconds[2] > seconds[0]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_bit_for_bit_where_the_straight_run_ends(start, straight):
    for step in (3, 6, 12):
        kill_at(step, *start("killed"))
    workdir = finish(*start("killed"))
    assert_same_to_the_bit(workdir, straight)


@pytest.mark.slow
def test_cached_teacher_outputs_train_the_same_student_to_the_bit(start, straight):
    workdir = finish(*start("views", "--config.teacher.cache=views"))
    assert_same_to_the_bit(workdir, straight)
    first, *others = outputs_computed(workdir)
    assert first == 5 * 256
    assert 0 < others[1] < others[0] < first
    assert len(list((workdir.parent / ".teacher_outputs").iterdir())) == 1


@pytest.mark.stress
def test_another_seed_finds_the_cached_teacher_outputs_that_both_share(start):
    """As another method would; it adds the rest."""
    workdir = finish(*start("views", "--config.teacher.cache=views"))
    other = finish(*start("more", "--config.teacher.cache=views", "--config.seed=1"))
    seen = sum(outputs_computed(workdir))
    assert sum(outputs_computed(other)) == pytest.approx(3 * 5 * 256 * (1 - seen / (9 * 1437)), rel=0.3)
    assert len(list((workdir.parent / ".teacher_outputs").iterdir())) == 1


@pytest.mark.stress
def test_rho_goes_by_what_a_network_says_that_did_not_train_on_an_image(start):
    workdir = finish(*start("rho", "--config.sampler.kind=rho", "--config.sampler.candidates=2"))
    scores = final_arrays(workdir, 6)["[1]['scores']"]
    dataset = datasets.load("digits")
    images = trained_models.make_input_normalizer(dataset)(dataset.train_images)
    for trained_on, judged in (("even", slice(1, None, 2)), ("odd", slice(0, None, 2))):
        place = workdir.parent / f"teacher-digits-resnet8-{trained_on}-seed0"
        network, variables = trained_models.load_student(place, "float32")
        logits = network.apply(variables, images[judged], train=False)[0].logits
        losses = -jax.nn.log_softmax(logits)[np.arange(len(logits)), dataset.train_labels[judged]]
        np.testing.assert_allclose(scores[judged], losses, rtol=1e-4, atol=1e-5)


@pytest.mark.stress  # By default the devices are compared in steps/train_step_test.py.
@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices_trains_the_same_student(start, straight, devices):
    assert_same_up_to_rounding(finish(*start(f"devices{devices}", devices=devices)), straight)


@pytest.mark.slow
@pytest.mark.stress
def test_a_run_goes_on_with_more_or_fewer_devices(start, straight):
    """What is restored is held against its checksums: it is the same to the bit on any number of devices."""
    for step, num_devices in ((3, 8), (6, 2), (12, 4)):
        kill_at(step, *start("elastic", devices=num_devices))
    workdir = finish(*start("elastic", devices=1))
    assert "damaged" not in workdir.with_name("elastic.log").read_text()
    assert_same_up_to_rounding(workdir, straight)


def test_every_device_holds_the_same_state(tmp_path):
    config = rdd.get_config("digits")
    config = run_config(config, **{"batch_size": 64, "teacher.name": "", "mining.epochs": 1})
    run = setup.build(config, tmp_path / "run")
    state = devices.replicate(jax.jit(run.init)(0))
    batches = epoch_batches(len(run.train.labels), 64, 0, 0)
    for batch in batches[:3]:
        (sent,) = run.train.train_batches([batch[None]], 0, run.steps_per_call)
        state, _ = run.train_call(state, sent, {}, np.int32(1))
    embeddings = run.make_embed(run.student)(state.student, run.train)
    state = run.mine(state, embeddings, embeddings[:, ::-1])
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        first, *others = devices.per_device_copies(leaf)
        assert len(others) == jax.local_device_count() - 1 > 0
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=jax.tree_util.keystr(path))
