"""A folder of images may be moved: its runs are evaluated, exported, explained and resumed all the same."""

import json

import numpy as np
import pytest
from left import Left
from networks import initial_variables
from PIL import Image
from settings import run_config

from configs import kd
from rdd_jax import main
from rdd_jax.cli import command_line, program
from rdd_jax.core.errors import UserError
from rdd_jax.data import origins
from rdd_jax.runs import naming, records
from rdd_jax.runs.checkpointing import Checkpoints
from rdd_jax.training import config_checks
from rdd_jax.training.run import train


def pictures(folder):
    generator = np.random.default_rng(0)
    for class_name in "ab":
        (folder / class_name).mkdir(parents=True)
        for number in range(20):
            image = generator.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(image).save(folder / class_name / f"{number}.png")
    return folder


def config(folder, **keys):
    chosen = kd.get_config("folder")
    keys = {"data.folder": str(folder), "data.image_size": 8, "teacher.name": "resnet8", "batch_size": 8, **keys}
    return run_config(chosen, **keys)


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """-> where the folder is now; a run of it, whose configuration says where it was, is in runs/mine."""
    monkeypatch.chdir(tmp_path)
    records.write_config(config(pictures(tmp_path / "before")), tmp_path / "runs" / "mine")
    origins.find.cache_clear()
    return (tmp_path / "before").rename(tmp_path / "after")


def told(capsys, *arguments):
    """-> what the program prints on stderr when it refuses."""
    assert main.main(["rdd_jax", "--workdir=runs/mine", *arguments]) == 2
    return capsys.readouterr().err


def test_evaluation_takes_the_new_place_of_the_same_images(capsys, tmp_path, moved):
    with Checkpoints(tmp_path / "runs" / "mine") as checkpoints:
        checkpoints.save(1, Left(initial_variables("resnet8", 2, (8, 8, 3))), None)
    line = told(capsys, "--mode=evaluate")
    assert line == f"rdd_jax: there is no folder {tmp_path / 'before'}: give another --config.data.folder\n"
    arguments = ("--mode=evaluate", f"--config.data.folder={moved}", "--config.data.workers=0")
    assert main.main(["rdd_jax", "--workdir=runs/mine", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] in [12.5 * hits for hits in range(9)]


@pytest.mark.parametrize(("mode", "module", "name"), [("export", "export", "save"), ("explain", "explain_run", "run")])
def test_export_and_explanation_are_given_the_new_place(capsys, monkeypatch, moved, mode, module, name):
    monkeypatch.setattr(getattr(program, module), name, lambda *arguments: arguments[-1].data.folder)
    assert main.main(["rdd_jax", f"--mode={mode}", "--workdir=runs/mine", f"--config.data.folder={moved}"]) == 0
    assert capsys.readouterr().out.strip() == str(moved)


def test_the_run_that_a_configuration_names_is_looked_for_in_the_new_place(capsys, monkeypatch, tmp_path, moved):
    (tmp_path / "runs" / "mine").rename(tmp_path / "runs" / "kd-after-seed3")
    monkeypatch.setattr(
        program, "evaluate", lambda workdir, chosen: [str(workdir), chosen.data.folder, chosen.batch_size]
    )
    named = (f"--config={kd.__file__}:folder", "--config.seed=3", f"--config.data.folder={moved}")
    assert main.main(["rdd_jax", "--mode=evaluate", *named]) == 0
    assert json.loads(capsys.readouterr().out) == ["runs/kd-after-seed3", str(moved), 8]


def test_other_keys_and_another_configuration_are_refused(capsys, moved):
    line = told(capsys, "--mode=evaluate", "--config.student.name=vgg19")
    assert "only data.folder, data.workers, teacher.checkpoint, teacher.members can be given, not student.name" in line
    line = told(capsys, "--mode=explain", f"--config={kd.__file__}")
    assert "--mode=explain reads the configuration in the workdir: leave out --config=" in line


def test_other_images_are_refused(capsys, moved):
    (moved / "a" / "0.png").rename(moved / "a" / "new.png")
    line = told(capsys, "--mode=evaluate", f"--config.data.folder={moved}")
    assert "the data have changed since runs/mine began (files:" in line


def test_a_run_goes_on_with_the_moved_folder_and_its_teacher(tmp_path, moved):
    workdir, chosen = tmp_path / "runs" / "mine", config(moved, **{"teacher.epochs": 3})
    teacher = naming.teacher_config(config(tmp_path / "before", **{"teacher.epochs": 3}))
    place = tmp_path / "runs" / naming.run_name(naming.teacher_config(chosen))
    for left, name in ((teacher, place), (config(tmp_path / "before", **{"teacher.epochs": 3}), workdir)):
        name.mkdir(exist_ok=True)
        (name / "config.json").write_text(json.dumps(left.to_dict()))
        (name / "data.json").write_text((workdir / "data.json").read_text())
    (place / "summary.json").write_text("{}")
    config_checks.check(chosen, workdir)

    (moved / "a" / "0.png").rename(moved / "a" / "new.png")
    origins.find.cache_clear()
    with pytest.raises(UserError, match=r"mine holds another run .data.folder is .*before there, .*after here"):
        config_checks.check(chosen, workdir)
    with pytest.raises(UserError, match=rf"{place.name} holds another run .data.folder is"):
        config_checks.check(chosen, tmp_path / "runs" / "new")


def test_a_configuration_with_a_folder_names_no_other_data_set(tmp_path):
    chosen = command_line.configuration([f"--config={kd.__file__}:cifar100_small", f"--config.data.folder={tmp_path}"])
    assert (chosen.dataset, chosen.data.folder) == ("", str(tmp_path))


def test_a_finished_run_notes_the_new_place(tmp_path, moved):
    workdir = tmp_path / "runs" / "mine"
    summary = {
        "steps": 1,
        "wall_seconds": 1.0,
        "teacher": None,
        "student": {"name": "resnet8", "accuracy": 50.0, "best_accuracy": 50.0},
    }
    (workdir / "summary.json").write_text(json.dumps(summary))
    (workdir / "report.html").touch()
    train(config(moved), workdir)
    assert records.read_config(workdir).data.folder == str(moved)


def test_a_teacher_that_saw_what_is_held_out_is_refused(tmp_path):
    folder = pictures(tmp_path / "pictures")
    records.write_config(naming.teacher_config(config(folder)), tmp_path / "teacher")
    keys = {"data.validation": 0.5, "teacher.checkpoint": str(tmp_path / "teacher")}
    with pytest.raises(UserError, match=r"set --config.data.validation=0.2, or give another teacher"):
        config_checks.check(config(folder, **keys), tmp_path / "run")
