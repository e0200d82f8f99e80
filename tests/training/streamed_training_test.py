"""Training on images that are read as they are needed ends with the student of those in memory, whatever befalls it."""

import re

import numpy as np
import pytest
from program import assert_same_to_the_bit, finish, history, kill_at
from settings import run_config

from rdd_jax.core.errors import DataReadError
from rdd_jax.runs import presets
from rdd_jax.runs.checkpointing import latest_step
from rdd_jax.training.run import train
from rdd_jax.training.setup import make_sampler

STREAMED = "--config.data.loading=stream"


@pytest.mark.stress
def test_an_image_that_cannot_be_read_costs_no_update(folder, tmp_path):
    chosen = presets.get_config("digits")
    chosen.teacher.name = ""
    keys = {"data.loading": "stream", "data.folder": str(folder), "data.image_size": 16, "batch_size": 4, "epochs": 2}
    chosen = run_config(chosen, **keys)
    train(chosen, tmp_path / "undisturbed")

    unlucky = make_sampler(chosen, 10).batches(0)[1][0]
    path = sorted((folder / "train").rglob("*.png"))[unlucky]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataReadError, match=f"{re.escape(str(path))} cannot be read"):
        train(chosen, tmp_path / "disturbed")
    assert latest_step(tmp_path / "disturbed") == 1
    path.write_bytes(content)
    train(chosen, tmp_path / "disturbed")
    assert_same_to_the_bit(tmp_path / "disturbed", tmp_path / "undisturbed", step=4)


@pytest.mark.slow
def test_streamed_training_is_that_in_memory_to_the_bit(start, straight):
    assert_same_to_the_bit(finish(*start("streamed", STREAMED)), straight)


@pytest.mark.slow
@pytest.mark.stress
def test_killed_in_the_middle_of_an_epoch_it_reads_on_from_there(start, straight):
    kill_at(3, *start("killed", STREAMED, devices=2))
    assert history(finish(*start("killed", STREAMED))) != []
    kill_at(6, *start("again", STREAMED, "--config.data.workers=1"))
    assert_same_to_the_bit(finish(*start("again", STREAMED)), straight)


@pytest.mark.slow
@pytest.mark.stress
def test_imagenet_trains_to_its_end(imagenet, start):
    keys = {
        "preset": "imagenet2012",
        "dataset": "imagenet2012",
        "data.image_size": 64,
        "augment.pad": 0,
        "augment.flip": True,
        "augment.resized_crop": True,
        "batch_size": 8,
        "distill.rdd.num_negatives": 16,
        "distill.rdd.pool_size": 4,
    }
    workdir = finish(*start("imagenet", STREAMED, *(f"--config.{key}={value}" for key, value in keys.items())))
    lines = history(workdir)
    assert [line["split"] for line in lines] == ["train", "test"] * 3
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert lines[-1]["step"] == 9
