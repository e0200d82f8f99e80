"""Mistakes at the command line: exit code 2, one line that names the mistake and the mend, nothing written."""

import json
from pathlib import Path

import pytest
from golden import GOLDENS
from program import ROOT
from settings import run_config

from configs import rdd
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.main import main
from rdd_jax.runs import naming, records
from rdd_jax.runs.config import differences

CONFIGS = ROOT / "configs"
RDD, CE = (f"--config={CONFIGS / name}" for name in ("rdd.py", "ce.py"))
WEIGHTS = GOLDENS / "resnet8.safetensors"  # for 3 channels and 100 classes


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-data"))
    monkeypatch.setenv("RDD_JAX_CACHE", str(tmp_path / "no-cache"))


def refusal(capsys, *arguments):
    """The one line of a refused command, which must have written nothing."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["main", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert sorted(Path.cwd().rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["--config=configs/rdd.py"]),
        (("--mode=evaluate",), ["which run? give its folder", "--workdir="]),
        (("--mode=export",), ["which run? give its folder", "--workdir="]),
        (("--mode=explain",), ["which run? give its folder", "--workdir="]),
        (
            (RDD, "--config.teacher.checkpoint=~no_such_user/t.pth"),
            ["teacher.checkpoint ~no_such_user/t.pth cannot be found"],
        ),
        (("--config=configs/nothing.py",), ["configs/nothing.py", "--config=rdd"]),
        ((f"{RDD}:imagenet",), ["imagenet", "digits", "cifar100_small"]),
        ((RDD, "--config.dataset=cifar"), ["cifar", "digits"]),
        ((RDD, "--config.student.name=resnet9"), ["resnet9", "resnet8"]),
        ((RDD, "--config.teacher.name="), ["rdd", "teacher"]),
        ((RDD, "--config.distill.rdd.betta=1"), ['"betta"; did you mean beta instead']),
        ((RDD, "--config.epochs=three"), ["three"]),
        ((RDD, "--config.epochs=0"), ["epochs", "0"]),
        ((RDD, "--config.batch_size=1438"), ["1438", "1437"]),
        ((RDD, "--config.batch_size=62"), ["batch_size 62 is not divisible by the number of devices, 4"]),
        ((RDD, "--config.epochs=1000001"), ["epochs must be at most 1,000,000; got 1000001"]),
        ((RDD, "--config.mining.start_epoch=9223372036854775808"), ["mining.start_epoch", "2,147,483,647"]),
        ((RDD, f"--config.milestones={'(0.5,' * 300}"), ["too many brackets", "(0.5, 0.75)"]),
        ((RDD, "--config.preset=a\0b"), ["preset must be text without control characters; got 'a\\x00b'"]),
        ((RDD, "--workdir=a\0b"), ["'a\\x00b'", "--workdir"]),
        ((RDD, "--workdir=runs/teacher-digits-resnet20-seed0"), ["teacher is trained", "give another --workdir"]),
        ((RDD, "--config.learning_rate=nan"), ["learning_rate"]),
        ((RDD, "--config.distill.rdd.beta=inf"), ["distill.rdd.beta must be finite; got inf"]),
        ((RDD, f"--workdir={'x' * 300}"), ["xxx", "File name too long"]),
        ((RDD, "--workdir=/dev/null/run"), ["/dev/null is not a folder: give another path"]),
        ((RDD, "--coordinator=localhost", "--processes=2", "--process=0"), ["--coordinator=HOST:PORT"]),
        ((RDD, "--coordinator=localhost:1", "--processes=2", "--process=0", "--join_seconds=0"), ["--join_seconds"]),
        ((RDD, "--config.seed=2147483648"), ["seed", "2147483648"]),
        ((RDD, "--config.epochs=1"), ["never mine", "mining.start_epoch=0"]),
        ((RDD, "--config.milestones=(5,)"), ["milestones"]),
        ((RDD, "--config.dtype=float16"), ["float16", "bfloat16"]),
        ((RDD, "--config.augment.pad=2147483647"), ["augment.pad must be at most 1,000"]),
        ((RDD, "--config.distill.rdd.pool_size=1437"), ["pool_size", "1436"]),
        ((RDD, "--config.distill.rdd.positives=a10"), ["positives", "a01"]),
        ((RDD, "--config.distill.rdd.weight=-1"), ["weight"]),
        ((RDD, "--config.distill.fitnets.weight=1", "--config.distill.fitnets.layer=4"), ["fitnets: layer", "4"]),
        ((f"--config={CONFIGS / 'kd.py'}", "--config.distill.kd.temperature=0"), ["temperature"]),
        ((f"{RDD}:mnist",), ["mnist", "TFDS_DATA_DIR", "download_and_prepare"]),
        ((RDD, "--config.teacher.checkpoint=nowhere"), ["nowhere"]),
        ((RDD, "--config.teacher.checkpoint=nowhere.pth"), ["/nowhere.pth:", "workdir", ".safetensors"]),
        ((CE, "--config.teacher.name=", "--config.teacher.checkpoint=x.pth"), ["set --config.teacher.name"]),
        ((RDD, "--config.teacher.cache=views", "--config.sampler.kind=rho"), ["rho", "cache=none"]),
        ((CE, "--config.optimizer.name=adamww"), ['unknown optimizer.name "adamww"; did you mean "adamw"']),
        ((CE, "--config.optimizer.name=lbfgs"), ['unknown optimizer.name "lbfgs"']),
        (
            (CE, "--config.optimizer.name=adamw", "--config.optimizer.kwargs.b=0.9"),
            ['unknown argument of optax.adamw "b"; did you mean "b2"'],
        ),
        (
            (CE, "--config.optimizer.name=adamw", "--config.optimizer.kwargs.b1=much"),
            ["optax.adamw cannot be used with optimizer.kwargs {'b1': 'much'}"],
        ),
        ((CE, "--config.optimizer.kwargs.b1"), ["needs a value: write --config.optimizer.kwargs.b1=VALUE"]),
        ((CE, "--config.optimizer.kwargs.nesterov={1}"), ["optimizer.kwargs.nesterov must be text, a number"]),
        ((CE, "--config.optimizer.kwargs=3"), ["optimizer.kwargs"]),
        ((CE, "--config.optimizer.ema=1.0"), ["optimizer.ema must be in [0, 1); got 1.0"]),
        ((CE, "--config.teacher.kind=student"), ['unknown teacher.kind "student"']),
        ((CE, "--config.teacher.kind=ema"), ["teacher.kind=ema needs", "set --config.optimizer.ema=0.999"]),
        (
            (RDD, "--config.teacher.kind=ema", "--config.optimizer.ema=0.9"),
            ["rdd mines with a frozen teacher: set --config.teacher.kind=frozen"],
        ),
        ((CE, "--config.teacher.kind=ema", "--config.teacher.cache=views"), ["cannot be cached", "cache=none"]),
        ((CE, "--config.teacher.kind=ema", "--config.teacher.checkpoint=a"), ["leave out teacher.checkpoint"]),
        ((CE, "--config.optimizer.schedule=cosin"), ["optimizer.schedule", "cosine"]),
        ((RDD, "--config.sampler.kind=easy"), ["sampler.kind", "easy", "curriculum"]),
        ((RDD, "--config.sampler.kind=rdx", "--config.sampler.fraction=0.01"), ["less than one batch of 64"]),
        ((CE, "--config.teacher.name=", "--config.sampler.kind=rdx"), ["rdx", "set --config.teacher.name"]),
        ((RDD, "--config.mining.kind=often"), ["mining.kind", "often", "adaptive"]),
        ((CE, "--config.mining.epochs=0"), ["mining.epochs", "kind=once"]),
        ((RDD, "--config.mining.kind=adaptive", "--config.mining.probe=2000"), ["mining.probe", "1437"]),
        ((RDD, "--config.distill.rdd.candidates=64"), ["candidates", "65", "64"]),
        ((RDD, "--config.teacher.cache=views", "--config.teacher.cache_dtype=int8"), ["cache_dtype", "float16"]),
        ((RDD, "--config.teacher.cache=views", "--config.distill.at.weight=1"), ["at needs", "maps", "cache=none"]),
        (
            (RDD, "--config.teacher.cache=views", "--config.augment.pad=60"),
            ["6.3 GB", "1,437 images x 14641 augmentations x 74", "cache_gigabytes=7"],
        ),
        *(
            ((RDD, "--config.teacher.cache=views", f"--config.augment.{key}=1"), [f"augment.{key}=0 or", "cache=none"])
            for key in ("rand_ops", "mixup")
        ),
        ((CE, "--config.augment.mixup=1", "--config.batch_size=60"), ["mix pairs", "each device 15", "multiple of 8"]),
        ((RDD, "--mode=evaluate"), ["runs/rdd-digits-seed0"]),
        (("--mode=explain", "--workdir=nowhere", "--split=all"), ["split", "test", "train"]),
        ((RDD, "--classes=3,5,8"), ["--classes is for --mode=explain"]),
        ((RDD, "--images=cat.jpg"), ["--images is for --mode=predict"]),
        ((RDD, "--mode=predict", "--images=cat.jpg"), ["runs/rdd-digits-seed0"]),
        (("--mode=predict", "--workdir=nowhere", "--images=cat.jpg"), ["no run in nowhere"]),
        ((RDD, "--mode=fly"), ["fly", "evaluate"]),
        (("--mode=evaluate", "--workdir=nowhere", "--config.epochs=3"), ["no run in nowhere"]),
        ((RDD, "--seed=3"), ["seed", "--config.KEY=VALUE"]),
    ],
    ids=lambda value: " ".join(value).replace(RDD, "") if isinstance(value, tuple) else "",
)
def test_a_mistake_is_told_in_one_line(capsys, arguments, words):
    line = refusal(capsys, *arguments)
    for word in words:
        assert word in line


def left_by_a_run(workdir, **overrides):
    config = rdd.get_config("digits")
    config.update(overrides)
    config = run_config(config)
    records.write_config(config, workdir)
    return config


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_that_name", ["ModuleNotFoundError"]),
        ("def get(preset): pass", ["get_config"]),
        ("def get_config(preset): return {}[preset]", ["KeyError"]),
        ("def get_config(preset", ["SyntaxError"]),
        ("def get_config(): pass", ["TypeError"]),
        ("def get_config(preset): pass", ["get_config('') returns no ConfigDict"]),
    ],
)
def test_a_configuration_file_that_fails_is_named(capsys, tmp_path, code, words):
    (tmp_path / "mine.py").write_text(code)
    line = refusal(capsys, "--config=mine.py")
    for word in ("mine.py fails", *words):
        assert word in line


def test_a_bug_of_the_package_is_not_blamed_on_the_configuration_file(tmp_path):
    (tmp_path / "mine.py").write_text("from rdd_jax import methods\ndef get_config(preset): return methods.label(3)")
    with pytest.raises(AttributeError, match="items"):
        main(["main", "--config=mine.py"])


def test_two_processes_do_not_share_a_workdir(tmp_path):
    with io.workdir_lock(tmp_path), pytest.raises(UserError, match="another process"), io.workdir_lock(tmp_path):
        pass
    with io.workdir_lock(tmp_path):
        pass


def test_what_a_killed_process_had_half_written_is_cleared_away(tmp_path):
    (tmp_path / "figures").mkdir()
    with io.atomic_write(tmp_path / "figures" / "curves.png") as file:
        (half,) = (tmp_path / "figures").iterdir()
        left = tmp_path / half.name
        left.write_bytes(b"half of it")
        file.write(b"whole")
    (tmp_path / ".mine").touch()
    with io.workdir_lock(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"figures", ".lock", ".mine"}
    assert (tmp_path / "figures" / "curves.png").read_bytes() == b"whole"


def test_a_run_is_named_after_its_method_preset_and_seed():
    config = run_config(rdd.get_config("digits"))
    assert naming.run_name(config) == "rdd-digits-seed0"
    assert naming.run_name(naming.teacher_config(config)) == "teacher-digits-resnet20-seed0"
    config = config.replaced({"seed": 3, "distill.kd.weight": 0.5, "dataset": "mnist"})
    assert naming.run_name(config) == "kd+rdd-digits-mnist-seed3"
    config = config.replaced({"distill.kd.weight": 0.0, "distill.rdd.weight": 0.0, "teacher.name": ""})
    assert naming.run_name(config) == "ce-digits-mnist-seed3"


def test_what_a_teacher_does_not_read_does_not_tell_it_apart():
    one = run_config(rdd.get_config("digits"))
    other = one.replaced({"seed": 3, "epochs": 7, "mining.epochs": 1, "distill.rdd.pool_size": 5})
    other = other.replaced({"augment.rand_ops": 2, "augment.rand_magnitude": 5, "augment.erase": 0.5})
    other = other.replaced({"augment.mixup": 0.2, "augment.cutmix": 1.0})
    assert not differences(naming.teacher_config(one), naming.teacher_config(other))
    other = other.replaced({"teacher.epochs": 9})
    assert set(differences(naming.teacher_config(one), naming.teacher_config(other))) == {"epochs"}


def test_rho_wants_a_judge_of_either_half():
    config = run_config(rdd.get_config("digits"), **{"sampler.kind": "rho"})
    needed = naming.required_runs(config, Path("runs/mine"))
    assert [place.name for _, place in needed[1:]] == [
        f"teacher-digits-resnet8-{part}-seed0" for part in ("even", "odd")
    ]
    assert [run.sampler.kind for run, _ in needed] == ["full", "even", "odd"]
    assert {run.student.name for run, _ in needed[1:]} == {"resnet8"}


def test_a_workdir_of_another_run_is_left_alone(capsys, tmp_path):
    left_by_a_run(tmp_path / "mine", epochs=7)
    line = refusal(capsys, RDD, "--workdir=mine")
    assert "epochs is 7 there, 30 here" in line
    assert "--workdir" in line


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"student": {"name": "mycnn"}}, ['unknown model "mycnn"', "resnet8", "FILE.py:FACTORY"]),
        ({"dataset": "mydata"}, ['unknown data set "mydata"', "digits"]),
    ],
)
def test_a_run_of_what_this_program_does_not_know_is_named(capsys, tmp_path, overrides, words):
    left_by_a_run(tmp_path / "mine", **overrides)
    for mode in ("evaluate", "export", "explain"):
        line = refusal(capsys, f"--mode={mode}", "--workdir=mine")
        for word in ("mine/config.json: ", *words):
            assert word in line


def test_a_configuration_that_lacks_a_key_is_named(capsys, tmp_path):
    config = left_by_a_run(tmp_path / "mine").to_dict()
    del config["teacher"]["epochs"]
    io.write_json(tmp_path / "mine" / "config.json", config)
    for mode in ("evaluate", "export", "explain"):
        line = refusal(capsys, f"--mode={mode}", "--workdir=mine")
        assert "mine/config.json is damaged, or another version's (there is no teacher.epochs)" in line


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_damaged_summary_is_named_with_the_mend(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary.json is damaged .*: delete it, and the command of the run writes it"):
        records.read_summary(tmp_path)


def test_a_damaged_configuration_is_named(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"epochs": ')
    assert "mine/config.json is damaged" in refusal(capsys, RDD, "--workdir=mine")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, ["not trained to its end"]),
        ({"dataset": "mnist"}, ["trained on mnist, not on digits"]),
        ({"student": {"name": "resnet14"}}, ["resnet14", "--config.teacher.name=resnet14"]),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(capsys, tmp_path, overrides, words):
    left_by_a_run(tmp_path / "teacher", **({"student": {"name": "resnet20"}} | overrides))
    line = refusal(capsys, RDD, "--config.teacher.checkpoint=teacher")
    for word in words:
        assert word in line


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_teacher_configuration_is_named(capsys, tmp_path, content):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text(content)
    assert "teacher/config.json is damaged" in refusal(capsys, RDD, "--config.teacher.checkpoint=teacher")


def test_a_teacher_without_a_checkpoint_is_refused(capsys, tmp_path):
    left_by_a_run(tmp_path / "teacher", student={"name": "resnet20"})
    (tmp_path / "teacher" / "summary.json").write_text("{}")
    assert "there is no checkpoint" in refusal(capsys, RDD, "--config.teacher.checkpoint=teacher")


def test_a_broken_teacher_checkpoint_is_refused(capsys, tmp_path):
    left_by_a_run(tmp_path / "teacher", student={"name": "resnet20"})
    (tmp_path / "teacher" / "summary.json").write_text("{}")
    broken = tmp_path / "teacher" / "checkpoints" / "440" / "student"
    broken.mkdir(parents=True)
    (broken / "_METADATA").write_text("{}")
    line = refusal(capsys, RDD, "--config.teacher.checkpoint=teacher")
    assert "checkpoints/440 is damaged" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet20", ["resnet8.safetensors is not a resnet20", "lacks layer1.1.conv1.weight"]),
        ("resnet8", ["conv1.weight is (16, 3, 3, 3) there and (16, 1, 3, 3) in resnet8"]),
    ],
)
def test_weights_of_another_network_are_refused(capsys, name, words):
    line = refusal(capsys, RDD, f"--config.teacher.name={name}", f"--config.teacher.checkpoint={WEIGHTS}")
    for word in (*words, "set --config.teacher.name and --config.dataset"):
        assert word in line


def test_an_exports_folder_is_told_from_its_weights(capsys, tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "student.safetensors").write_bytes(WEIGHTS.read_bytes())
    line = refusal(capsys, RDD, "--config.teacher.checkpoint=export")
    assert f"set --config.teacher.checkpoint={tmp_path / 'export' / 'student.safetensors'}" in line


@pytest.mark.parametrize("name", ["teacher.safetensors", "teacher.pth", "config.json"])
def test_a_file_that_holds_no_weights_is_refused(capsys, tmp_path, name):
    (tmp_path / name).write_bytes(WEIGHTS.read_bytes()[:1000])
    assert name in refusal(capsys, RDD, f"--config.teacher.checkpoint={name}")


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_a_run_that_cannot_be_exported_is_named(capsys, tmp_path, has_checkpoint):
    left_by_a_run(tmp_path / "mine")
    assert "not trained to its end" in refusal(capsys, "--mode=export", "--workdir=mine")
    (tmp_path / "mine" / "summary.json").write_text("{}")
    if has_checkpoint:
        (tmp_path / "mine" / "checkpoints" / "440" / "student").mkdir(parents=True)
    line = refusal(capsys, "--mode=export", "--workdir=mine")
    assert ("checkpoints/440 is damaged" if has_checkpoint else "there is no checkpoint") in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["teacher of mine is not in teacher-digits-resnet20-seed0", "--against"]),
        (("--against=nowhere",), ["no run in nowhere"]),
        (("--against=alone", "--dataset=imagenet"), ["imagenet", "digits"]),
        (("--against=colours",), ["colours takes images of 32 x 32 x 3", "8 x 8 x 1"]),
        (("--against=alone", "--examples=11"), ["--examples", "[12, 20000]", "11"]),
        (("--against=alone", "--classes=3,cat"), ['unknown class "cat"']),
        (("--against=alone", "--classes=3", "--clusters=40"), ["40 clusters need 82 images", "has 36", "--classes"]),
        (("--against=alone",), ["no checkpoint in", "mine/checkpoints"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_explained_is_named(capsys, tmp_path, arguments, words):
    left_by_a_run(tmp_path / "mine")
    left_by_a_run(tmp_path / "alone", teacher={"name": ""})
    left_by_a_run(tmp_path / "colours", dataset="cifar100")
    line = refusal(capsys, "--mode=explain", "--workdir=mine", *arguments)
    for word in words:
        assert word in line


def test_a_run_without_a_teacher_is_explained_against_another(capsys, tmp_path):
    left_by_a_run(tmp_path / "alone", teacher={"name": ""})
    assert "--against=WORKDIR" in refusal(capsys, "--mode=explain", "--workdir=alone")


def test_a_kept_teacher_of_another_recipe_is_not_taken_unasked(capsys, tmp_path):
    place = tmp_path / "runs" / "teacher-digits-resnet20-seed0"
    config = run_config(rdd.get_config("digits"))
    records.write_config(naming.teacher_config(config), place)
    (place / "summary.json").write_text(json.dumps({}))
    line = refusal(capsys, RDD, "--config.teacher.epochs=50")
    assert "epochs is 30 there, 50 here" in line
    assert "--config.teacher.checkpoint=runs/teacher-digits-resnet20-seed0" in line
