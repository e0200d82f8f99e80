"""Runs of networks of the user's own: killed and resumed, read by all modes, their file moved or changed."""

import json
import shutil

import pytest
from program import ROOT, assert_same_to_the_bit, finish, kill_at
from settings import run_config

from configs import ce
from rdd_jax.core.errors import UserError
from rdd_jax.main import main
from rdd_jax.runs import export, naming, records, trained_models
from rdd_jax.runs.network_options import StudentOptions
from rdd_jax.training import reopen, same_run
from rdd_jax.training.teacher_checks import check_given_teacher

EXAMPLE = ROOT / "examples" / "own_network.py"


@pytest.fixture
def file(tmp_path):
    return shutil.copy(EXAMPLE, tmp_path / "own.py")


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["linen_network", pytest.param("nnx_network", marks=pytest.mark.stress)])
def test_a_run_of_an_own_network(start, file, capsys, tmp_path, factory):
    arguments = [f"--config.student.name={file}:{factory}", "--config.student.kwargs.width=8"]
    straight = finish(*start(f"{factory}-straight", *arguments))
    kill_at(6, *start(factory, *arguments))
    workdir = finish(*start(factory, *arguments))
    assert_same_to_the_bit(workdir, straight)
    summary = records.read_summary(workdir)
    assert summary["student"]["name"] == f"own.py:{factory}"
    assert summary["student"]["parameters"] == (80 + 16 + 8 * 9 * 16 + 16 + 32 + 16 * 10 + 10)

    def told(*flags):
        code = main(["main", f"--workdir={workdir}", *flags])
        printed = capsys.readouterr()
        return (code, printed.out.splitlines()[-1]) if code == 0 else (code, printed.err.splitlines()[-1])

    code, line = told("--mode=evaluate")
    assert (code, json.loads(line)["accuracy"]) == (0, summary["student"]["accuracy"])
    assert told("--mode=export") == (0, str(workdir / "export"))
    assert told("--mode=explain", "--clusters=2", "--examples=60")[0] == 0
    description = export.load(workdir / "export").description
    assert description["accuracy"] == summary["student"]["accuracy"]

    file.rename(tmp_path / "moved.py")
    assert told("--mode=evaluate") == (
        2,
        f"rdd_jax: there is no file {file}: give its present place, as PLACE/own.py:{factory}",
    )
    moved = f"--config.student.name={tmp_path / 'moved.py'}:{factory}"
    assert json.loads(told("--mode=evaluate", moved)[1])["accuracy"] == summary["student"]["accuracy"]


def config_of(name, **kwargs):
    return run_config(ce.get_config("digits"), **{"student.name": name, "student.kwargs": kwargs, "teacher.name": ""})


def test_a_moved_file_is_the_same_network(tmp_path, file):
    workdir, config = tmp_path / "run", config_of(f"{file}:linen_network", width=8)
    records.write_config(config, workdir)
    assert records.read_config(workdir) == config
    moved = config_of(f"{shutil.copy(EXAMPLE, tmp_path / 'moved.py')}:linen_network", width=8)
    same_run.check_same_run(moved, workdir, "")
    assert reopen.configuration(workdir, moved, "evaluate", named=False) == moved


@pytest.mark.parametrize(
    ("factory", "kwargs", "more", "words"),
    [
        ("nnx_network", {"width": 8}, "", "student.name"),
        ("linen_network", {"width": 9}, "", "student.kwargs.width is 8 there, 9 here"),
        ("linen_network", {"width": 8}, "\n", "student.name"),
    ],
)
def test_another_network_is_refused(tmp_path, file, factory, kwargs, more, words):
    workdir = tmp_path / "run"
    records.write_config(config_of(f"{file}:linen_network", width=8), workdir)
    other = tmp_path / "other.py"
    other.write_text(EXAMPLE.read_text() + more)
    name = f"{file if 'width' in words else other}:{factory}"
    with pytest.raises(UserError, match=f"holds another run .*{words}"):
        same_run.check_same_run(config_of(name, **kwargs), workdir, "")
    with pytest.raises(UserError, match=r"only data\.folder, data\.workers, teacher\.checkpoint, teacher\.members can"):
        reopen.configuration(workdir, config_of(name, **kwargs), "evaluate", named=False)


def test_a_changed_file_is_warned_of(tmp_path, file, capsys):
    workdir, config = tmp_path / "run", config_of(f"{file}:linen_network")
    records.write_config(config, workdir)
    same_run.check_same_run(config, workdir, "")
    assert capsys.readouterr().err == ""
    file.write_text(f"{file.read_text()}\n")
    same_run.check_same_run(config, workdir, "")
    assert f"{file} has changed since {workdir} began" in capsys.readouterr().err


def test_a_teachers_folder_tells_networks_apart():
    def name(**network):
        return naming.network_name(StudentOptions(**network))

    assert name(name="resnet8") == "resnet8"
    assert name(name="resnet8", kwargs={"widths": (8, 8)}) == "resnet8-widths-_8_8_"
    assert name(name="/somewhere/own.py:small", kwargs={"width": 32}) == "own.py_small-width-32"
    longest = {name(name="own.py:small", kwargs={"text": f"{'x' * 90}{end}"}) for end in "ab"}
    assert len(longest) == 2
    assert all(len(each) < 80 for each in longest)


def test_a_changed_file_that_does_not_fit_the_weights(tmp_path, file, monkeypatch, capsys):
    workdir, config = tmp_path / "run", config_of(f"{file}:linen_network")
    records.write_config(config, workdir)

    def refuse(workdir, shapes):
        raise UserError("the checkpoint is of another network")

    monkeypatch.setattr(trained_models, "restore_student", refuse)
    with pytest.raises(UserError, match="the checkpoint is of another network"):
        trained_models.load_student(workdir, "float32")
    file.write_text(file.read_text().replace("stage * self.width", "2 * stage * self.width"))
    with pytest.raises(UserError, match=r"own\.py:linen_network does not fit the weights .* put the file back"):
        trained_models.load_student(workdir, "float32")


def test_a_teacher_with_other_arguments_is_refused(tmp_path, file):
    records.write_config(config_of(f"{file}:linen_network", width=8), tmp_path / "teacher")
    keys = {"teacher.name": f"{file}:linen_network", "teacher.checkpoint": str(tmp_path / "teacher")}
    config = run_config(ce.get_config("digits"), **keys)
    with pytest.raises(UserError, match=r"with the arguments \{'width': 8\}, not \{\}: set them by --config\.teacher"):
        check_given_teacher(config, *naming.teachers(config, tmp_path))
