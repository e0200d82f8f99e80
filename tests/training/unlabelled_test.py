"""Runs on training images without labels: what they can use, and which teachers they take."""

import numpy as np
import pytest
from left import leave_run
from PIL import Image
from settings import run_config

from configs import crd, kd, rdd
from rdd_jax.core.errors import UserError
from rdd_jax.runs import naming
from rdd_jax.training import config_checks

NO_CE = {"distill.ce.weight": 0.0}


@pytest.fixture
def pictures(tmp_path):
    """A folder of four images without labels, and one of two classes to test on."""
    folder = tmp_path / "pictures"
    for place in ("train", "test/a", "test/b"):
        (folder / place).mkdir(parents=True)
        save_images(folder / place)
    return folder


def save_images(folder):
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")


def config_of(folder, module=kd, **keys):
    keys = {"batch_size": 4, "data.validation": 0.0, "data.image_size": 8, "teacher.name": "resnet8"} | keys
    return run_config(module.get_config("folder"), **{"data.folder": str(folder)} | keys)


@pytest.mark.parametrize(
    ("module", "keys", "message"),
    [
        (kd, {}, "^ce needs labels, and the training images of pictures have none: set --config.distill.ce.weight=0"),
        (crd, NO_CE, "^crd needs labels.*set --config.distill.crd.weight=0"),
        (
            rdd,
            NO_CE | {"distill.rdd.same_class_negatives": False, "distill.rdd.pool_size": 2},
            "^rdd needs labels.*set --config.distill.rdd.same_class_negatives=True",
        ),
        (kd, NO_CE | {"sampler.kind": "rho"}, "^sampler.kind=rho needs labels.*set --config.sampler.kind=full"),
        (kd, NO_CE | {"sampler.balance": True}, "^sampler.balance needs labels.*set --config.sampler.balance=False"),
        (
            kd,
            NO_CE | {"teacher.name": "", "teacher.members": "a@b,c@d", "teacher.weights": "confidence"},
            "^teacher.weights=confidence needs labels.*set --config.teacher.weights=entropy",
        ),
        (kd, NO_CE, "^the training of a teacher needs labels.*give a trained one by --config.teacher.checkpoint"),
    ],
)
def test_what_needs_labels_is_refused(pictures, tmp_path, module, keys, message):
    with pytest.raises(UserError, match=message):
        config_checks.check(config_of(pictures, module, **keys), tmp_path / "run")


def leave_teacher(tmp_path, class_names):
    """Writes the workdir of a teacher that was trained on another folder, labelled, of these classes."""
    labelled = tmp_path / "labelled"
    for split in ("train", "test"):
        for name in class_names:
            (labelled / split / name).mkdir(parents=True)
            save_images(labelled / split / name)
    config = naming.teacher_config(config_of(labelled, **{"data.validation": 0.2}))
    return leave_run(tmp_path / "teacher", config, 0)


def test_a_teacher_comes_from_another_folder_of_the_same_classes(pictures, tmp_path):
    teacher = leave_teacher(tmp_path, ("a", "b"))
    config_checks.check(config_of(pictures, **NO_CE, **{"teacher.checkpoint": str(teacher)}), tmp_path / "run")


def test_a_teacher_of_other_classes_or_images_is_refused(pictures, tmp_path):
    config = config_of(pictures, **NO_CE, **{"teacher.checkpoint": str(leave_teacher(tmp_path, ("a", "c")))})
    with pytest.raises(UserError, match="was trained on other classes than pictures has: give another"):
        config_checks.check(config, tmp_path / "run")
    digits = leave_run(tmp_path / "digits", naming.teacher_config(run_config(kd.get_config("digits"))), 0)
    config = config.replaced({"teacher.checkpoint": str(digits)})
    with pytest.raises(UserError, match="was trained on digits, not on pictures: give one of a folder with the same"):
        config_checks.check(config, tmp_path / "run")
