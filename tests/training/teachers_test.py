"""The teacher of a run: where it is looked for, by what it is known again, what is told of it, and who waits for it."""

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from left import leave_run
from settings import run_config

from configs import ce, fitnets, kd, rdd_sampling, teacher
from rdd_jax.cli.command_line import configuration
from rdd_jax.cli.exit_codes import exit_code
from rdd_jax.core import io
from rdd_jax.core.errors import UserError, WorkdirLocked
from rdd_jax.core.fingerprints import fingerprint
from rdd_jax.runs import export, layout, naming, records
from rdd_jax.runs.trained_models import TrainedModel, load_teacher, load_teachers
from rdd_jax.steps.calibration import Reliability
from rdd_jax.steps.evaluation import Evaluation
from rdd_jax.training import config_checks, locks, run, teachers
from rdd_jax.training.preemption import StopRequested, StopSignal

NAME = "teacher-digits-resnet8-seed0"


def config_of(module=kd, **teacher_keys):
    config = module.get_config("digits")
    config.teacher.update({"name": "resnet8"} | teacher_keys)
    return run_config(config)


def leave_teacher(place, seed=0):
    return leave_run(place, naming.teacher_config(config_of()), seed)


@pytest.fixture(scope="module")
def two_teachers(tmp_path_factory):
    """The workdirs of two finished runs that differ in their weights alone."""
    folder = tmp_path_factory.mktemp("teachers")
    return leave_teacher(folder / NAME, 0), leave_teacher(folder / "other", 1)


def finished(workdir):
    io.write_json(workdir / layout.SUMMARY, {"student": {}, "teacher": None, "steps": 0, "wall_seconds": 0.0})
    return workdir


# Fingerprints.


def test_a_fingerprint_is_of_names_shapes_dtypes_and_values():
    variables = {"params": {"b": np.arange(4.0), "a": np.ones(2)}, "batch_stats": {"mean": np.zeros(3)}}
    reordered = {"batch_stats": {"mean": np.zeros(3)}, "params": {"a": np.ones(2), "b": np.arange(4.0)}}
    assert fingerprint(variables) == fingerprint(reordered)
    others = [
        {"params": {"b": np.arange(4.0).reshape(2, 2)}},
        {"params": {"b": np.arange(4.0).astype(np.float32)}},
        {"params": {"b": np.arange(4.0) + 1e-12}},
        {"params": {"c": np.arange(4.0)}},
        {"params": {"b": np.arange(4.0)}},
    ]
    assert len({fingerprint(tree) for tree in (variables, *others)}) == 6


# Places.


def test_a_teacher_is_looked_for_beside_the_workdir_and_not_in_the_current_folder(tmp_path, monkeypatch):
    finished(tmp_path / "here" / "runs" / NAME)
    monkeypatch.chdir(tmp_path / "here")
    there = tmp_path / "there"
    assert naming.teacher_path(config_of(), there / "kd") == there / NAME
    assert [place for _, place in naming.required_runs(config_of(), there / "kd")] == [there / NAME]


@pytest.mark.parametrize(("workdir", "folder"), [("runs/kd", "runs"), ("kd", "."), (".", ".."), ("a/..", "..")])
def test_what_runs_share_is_in_the_folder_that_has_the_workdir(tmp_path, monkeypatch, workdir, folder):
    place = tmp_path / "one" / "two"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    assert naming.shared_folder(Path(workdir)).resolve() == (place / folder).resolve()


def test_a_teacher_that_is_gone_is_taken_from_the_place_on_record(tmp_path):
    workdir, kept = tmp_path / "kd", tmp_path / "kept"
    io.write_json(workdir / layout.TEACHER, {"place": str(kept)})
    assert naming.teacher_path(config_of(), workdir) == tmp_path / NAME  # There is none: it is trained again.
    finished(kept)
    assert naming.teacher_path(config_of(), workdir) == kept
    assert naming.required_runs(config_of(), workdir) == []
    finished(tmp_path / NAME)
    assert naming.teacher_path(config_of(), workdir) == tmp_path / NAME


def test_a_teacher_is_absolute_wherever_the_command_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [f"--config={kd.__file__}", "--config.teacher.checkpoint=some/teacher.pth"]
    assert configuration(flags).teacher.checkpoint == str(tmp_path / "some" / "teacher.pth")


# Runs that need none.


def test_cross_entropy_alone_needs_no_teacher_and_names_one_that_is_there(tmp_path):
    config, workdir = config_of(ce), tmp_path / "ce"
    assert not naming.needs_teacher(config)
    assert naming.teacher_path(config, workdir) is None
    assert naming.required_runs(config, workdir) == []
    assert load_teacher(config, workdir) is None
    finished(tmp_path / NAME)
    records.write_config(naming.teacher_config(config), tmp_path / NAME)
    assert naming.teacher_path(config, workdir) == tmp_path / NAME
    assert naming.teacher_path(config_of(ce, epochs=config.teacher.epochs + 1), workdir) is None
    assert naming.teacher_path(config_of(ce, checkpoint="/asked/for"), workdir) == Path("/asked/for")
    assert naming.teacher_path(config_of(ce, name=""), workdir) is None


def test_methods_and_samplers_that_go_by_a_teacher_need_one():
    assert naming.needs_teacher(config_of(kd))
    ranked = config_of(rdd_sampling).replaced({"distill.kd.weight": 0.0, "distill.ce.weight": 1.0})
    assert naming.needs_teacher(ranked)
    assert not naming.needs_teacher(run_config(teacher.get_config("digits")))


# The same teacher, or another.


def test_a_run_is_refused_another_teacher_than_it_began_with(two_teachers, tmp_path):
    first, other = two_teachers
    workdir = tmp_path / "kd"
    began_with = load_teacher(config_of(checkpoint=str(first)), workdir)
    io.write_json(workdir / layout.TEACHER, {"fingerprint": fingerprint(began_with.variables)})
    assert load_teacher(config_of(checkpoint=str(first)), workdir)
    with pytest.raises(UserError, match=f"the teacher in {other} is not the one that {workdir} began with"):
        load_teacher(config_of(checkpoint=str(other)), workdir)


def test_a_run_goes_on_with_its_teacher_from_another_place(two_teachers, tmp_path):
    first, other = two_teachers
    workdir = tmp_path / "kd"
    config = config_of(checkpoint=str(first))
    records.write_config(config, workdir)
    moved = leave_teacher(tmp_path / "moved", 0)
    elsewhere, changed = config_of(checkpoint=str(moved)), config_of(checkpoint=str(other))
    with pytest.raises(UserError, match="holds another run"):  # Nothing tells that it is the same.
        config_checks.check(elsewhere, workdir)
    record = {"fingerprint": fingerprint(load_teacher(config, workdir).variables)}
    io.write_json(workdir / layout.TEACHER, record)
    config_checks.check(elsewhere, workdir)
    for end in (lambda: None, lambda: finished(workdir)):
        end()
        with pytest.raises(UserError, match="is not the one that"):
            config_checks.check(changed, workdir)
    io.write_text(workdir / layout.REPORT, "")
    run.train(elsewhere, workdir)
    assert records.read_config(workdir).teacher.checkpoint == str(moved)


# Its accuracy.


class Evaluations:
    """An experiment whose teacher has this accuracy, and how often that was measured."""

    def __init__(self, accuracy):
        self.count = 0
        self.teacher = TrainedModel(None, {"params": {"kernel": np.ones(3)}})
        self.teachers = (self.teacher,)
        self.test = None
        self._accuracy = accuracy

    def make_evaluate(self, network):
        self.count += 1
        return lambda variables, dataset, on_batch: Evaluation(
            {"accuracy": self._accuracy, "ece": 0.25}, Reliability(*np.array([[4, 0], [3, 0], [2, 0]]))
        )


def test_the_teachers_accuracy_is_told_kept_and_measured_once(tmp_path, capsys):
    config, workdir, experiment = config_of(), tmp_path / "kd", Evaluations(91.25)
    record = teachers.record(config, workdir, experiment, StopSignal())
    assert record == records.read_teacher(workdir)
    assert record == {
        "name": "resnet8",
        "place": str(tmp_path / NAME),
        "fingerprint": fingerprint({"params": {"kernel": np.ones(3)}}),
        "accuracy": 91.25,
        "ece": 0.25,
        "reliability": {"counts": [4, 0], "confidences": [0.75, None], "accuracies": [0.5, None]},
    }
    assert teachers.record(config, workdir, experiment, StopSignal()) == record
    assert experiment.count == 1
    told = capsys.readouterr()
    assert told.out.count("teacher resnet8: 3 parameters, 91.25% of the test images") == 2
    assert told.err == ""


@pytest.mark.parametrize(("num_classes", "threshold"), [(2, 55.0), (10, 19.0), (100, 2.0), (1000, 0.2)])
def test_a_teacher_that_guesses_is_warned_of(tmp_path, capsys, monkeypatch, num_classes, threshold):
    monkeypatch.setattr(teachers.loading, "describe", lambda data: SimpleNamespace(num_classes=num_classes))
    assert teachers.near_chance(num_classes) == pytest.approx(threshold)
    for sign, lines in ((1, 0), (-1, 1)):
        experiment = Evaluations(threshold * (1 + 0.01 * sign))
        teachers.record(config_of(), tmp_path / f"kd{sign}", experiment, StopSignal())
        assert capsys.readouterr().err.count("hardly better than chance") == lines


def test_a_run_without_a_teacher_has_none_on_record(tmp_path):
    assert teachers.record(config_of(ce), tmp_path, SimpleNamespace(teacher=None), StopSignal()) is None
    assert list(tmp_path.iterdir()) == []


# Several.


def members(*places):
    """A configuration with the resnet8 at each of these places as a teacher."""
    return config_of(members=",".join(f"resnet8@{place}" for place in places))


def test_several_teachers_are_loaded_as_one(two_teachers, tmp_path):
    config = members(*two_teachers)
    both = load_teachers(config, tmp_path)
    teacher = load_teacher(config, tmp_path)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    outputs = [network.apply(variables, images, train=False)[0] for network, variables in both]
    combined = teacher.network.apply(teacher.variables, images, train=False)[0]
    mean = sum(jax.nn.softmax(output.logits / 4) for output in outputs) / 2
    np.testing.assert_allclose(jax.nn.softmax(combined.logits / 4), mean, rtol=1e-5)
    assert combined.embedding.shape == (2, 128)
    assert naming.required_runs(config, tmp_path / "kd") == []


def test_a_file_of_weights_may_be_one_of_several(two_teachers, tmp_path):
    file = export.save(two_teachers[1]) / layout.EXPORTED_WEIGHTS
    config, other = members(two_teachers[0], file), members(*two_teachers)
    finished(two_teachers[0])
    config_checks.check(config, tmp_path / "kd")
    one, same = (fingerprint(load_teacher(each, tmp_path).variables) for each in (config, other))
    assert one == same


@pytest.mark.parametrize(
    ("method", "keys", "message"),
    [
        (kd, {"members": "resnet8@{0},resnet8@{0}/nothing"}, "there is no .*nothing"),
        (
            kd,
            {"members": "resnet20@{0},resnet8@{0}"},
            "holds a resnet8, not a resnet20: name resnet8 in --config.teacher.members",
        ),
        (fitnets, {"members": "resnet8@{0},resnet8@{0}"}, "fitnets needs the maps of a single teacher"),
        (
            kd,
            {"members": "resnet8@{0},resnet8@{0}", "cache": "views", "cache_gigabytes": 0.001},
            "x 9 .* x 148 numbers",
        ),
    ],
)
def test_teachers_that_do_not_fit_are_refused(two_teachers, tmp_path, method, keys, message):
    finished(two_teachers[0])
    keys["members"] = keys["members"].format(two_teachers[0])
    with pytest.raises(UserError, match=message):
        config_checks.check(config_of(method, **keys), tmp_path / "kd")
    assert not (tmp_path / "kd").exists()


def test_members_and_a_checkpoint_are_refused(two_teachers):
    with pytest.raises(ValueError, match=r"leave out teacher\.checkpoint"):
        config_of(members="resnet8@a,resnet8@b", checkpoint="c")


def test_moved_members_are_accepted_and_changed_ones_refused(two_teachers, tmp_path):
    first, second = map(finished, two_teachers)
    config, workdir = members(first, second), tmp_path / "kd"
    records.write_config(config, workdir)
    io.write_json(workdir / layout.TEACHER, {"fingerprint": fingerprint(load_teacher(config, workdir).variables)})
    moved = tmp_path / "moved"
    moved.symlink_to(first)
    config_checks.check(members(moved, second), workdir)
    with pytest.raises(UserError, match=r"is not the one that .* --config\.teacher\.members"):
        config_checks.check(members(second, first), workdir)
    with pytest.raises(UserError, match=r"holds another run .*teacher\.weights is equal there, 1,3 here"):
        config_checks.check(config_of(members=config.teacher.members, weights="1,3"), workdir)


def test_each_of_several_teachers_and_all_together_are_evaluated_once(tmp_path, capsys):
    config, experiment = members(tmp_path / "a", tmp_path / "b"), Evaluations(91.25)
    experiment.teachers = (experiment.teacher, TrainedModel(None, {"params": {"kernel": np.zeros(3)}}))
    record = teachers.record(config, tmp_path / "kd", experiment, StopSignal())
    assert record["name"] == "resnet8 + resnet8"
    assert "place" not in record
    assert [member["place"] for member in record["members"]] == [str(tmp_path / name) for name in "ab"]
    assert [member["accuracy"] for member in (record, *record["members"])] == [91.25] * 3
    assert teachers.record(config, tmp_path / "kd", experiment, StopSignal()) == record
    assert experiment.count == 3
    assert capsys.readouterr().out.count("teacher resnet8 + resnet8: 3 parameters, 91.25% of the test images") == 2


# Waiting for another process.


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.01)


@pytest.fixture
def trained(monkeypatch):
    """The workdirs in which this process has trained, instead of the training."""
    places = []
    monkeypatch.setattr(run, "train", lambda config, place, progress: places.append(finished(place)))
    monkeypatch.setattr(run, "_write_missing_report", lambda place: None)
    return places


def while_another_is_there(place, leaves):
    """Locks the place as another process would, and calls leaves() a little later, before it is unlocked."""
    locked = threading.Event()

    def work():
        with io.workdir_lock(place):
            locked.set()
            threading.Event().wait(0.1)
            leaves()

    threading.Thread(target=work, daemon=True).start()
    assert locked.wait(10)


def test_a_shared_run_is_waited_for(tmp_path, trained, capsys):
    while_another_is_there(tmp_path / NAME, lambda: finished(tmp_path / NAME))
    run.train_shared(config_of(), tmp_path / NAME)
    assert trained == []
    assert capsys.readouterr().err == f"rdd_jax: another process is training {tmp_path / NAME}: waiting for it\n"


def test_a_shared_run_is_taken_over_from_a_process_that_ends_before_it(tmp_path, trained):
    while_another_is_there(tmp_path / NAME, lambda: None)
    run.train_shared(config_of(), tmp_path / NAME)
    assert trained == [tmp_path / NAME]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_who_waits_can_be_stopped(tmp_path, trained, capsys, number, code):
    def work():
        run.train_shared(config_of(), tmp_path / NAME)

    before = signal.signal(number, signal.default_int_handler)  # A shell's background job would ignore SIGINT.
    try:
        with io.workdir_lock(tmp_path / NAME):
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
            assert exit_code(work) == code
    finally:
        signal.signal(number, before)
    assert trained == []
    told = capsys.readouterr()
    assert "run the same command again to resume" in (told.err if code else told.out).splitlines()[-1]


def test_the_workdir_of_a_run_itself_is_not_waited_for(tmp_path):
    with (
        io.workdir_lock(tmp_path),
        pytest.raises(WorkdirLocked, match="another process is using"),
        locks.locked(tmp_path),
    ):
        pass
    assert not io.is_locked(tmp_path)


def test_a_stop_is_heard_while_the_teacher_is_evaluated(tmp_path):
    stop_signal = StopSignal()

    def evaluate(variables, dataset, on_batch):
        on_batch(1, 2)
        stop_signal.signal_name = "SIGTERM"
        on_batch(2, 2)

    experiment = Evaluations(91.25)
    experiment.make_evaluate = lambda model: evaluate
    with pytest.raises(StopRequested):
        teachers.record(config_of(), tmp_path / "kd", experiment, stop_signal)
    assert records.read_teacher(tmp_path / "kd") == {}
