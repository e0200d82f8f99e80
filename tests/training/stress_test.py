"""Randomised faults with a fixed seed: a run killed repeatedly, and random invalid configurations."""

import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
from program import ROOT, assert_same_to_the_bit, finish, history, starter

from rdd_jax import main, methods
from rdd_jax.cli import program
from rdd_jax.core import io
from rdd_jax.runs import layout, naming, presets, records
from rdd_jax.training import config_checks

pytestmark = [pytest.mark.slow, pytest.mark.stress]

CONFIGS = ROOT / "configs"


# kill -9

EPOCHS = 12  # Of 5 updates: longer than what the early kills let through.
# The next kill follows a moment after there is something new of that name, in the workdir or the teacher's.
# By its name: seconds at most, and how often.
EARLY = {
    "": (3.0, 1),  # The program has only been started.
    "config.json": (3.0, 1),  # It restores and compiles.
    "checkpoints/*tmp*": (0.05, 2),  # It saves, beside the training.
    "checkpoints/*": (0.5, 1),
    "metrics.jsonl": (0.1, 1),
}
# When it is done, and while it draws its report: in this order.
LATE = [("summary.json", 0.02), ("figures/*.png", 0.0)]


def drawn_moments(generator):
    """(what is waited for, seconds after it), each kind as often as it says, in random order."""
    drawn = [(name, generator.uniform(0, most)) for name, (most, times) in EARLY.items() for _ in range(times)]
    return generator.sample(drawn, len(drawn))


def there(folder, name):
    """What is there of that name, in all workdirs of the folder, and since when; some of it may vanish meanwhile."""
    found = set()
    for path in folder.glob(f"*/{name}"):
        try:
            found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def updates_known(workdir):
    """The last update that the record tells of, and that of the last checkpoint."""
    recorded = [line["step"] for line in io.read_json_lines(workdir / layout.METRICS)]
    saved = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]
    return max(recorded, default=0), max(saved, default=0)


def names_left(workdir):
    """Every file and folder of a run, down to the items of a checkpoint; events have a file for every start."""
    paths = (path.relative_to(workdir) for path in workdir.rglob("*"))
    return {str(path) for path in paths if len(path.parts) <= 3 and path.parts[0] != "events"}


def test_killed_at_8_random_moments_it_ends_bit_for_bit_where_the_straight_run_ends(tmp_path, record_property):
    """The killed run has a folder of its own, so that its teacher and what it compiles are not there before it."""
    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
    options = [f"--config.epochs={EPOCHS}", "--config.mining.epochs=8"]
    straight = finish(*starter(tmp_path / "straight")("straight", *options))
    generator, folder = random.Random(0), tmp_path / "killed"
    start, killed_after, done_again = starter(folder), [], []
    for name, delay in [*drawn_moments(generator), *LATE]:
        before = there(folder, name) if name else set()
        process, workdir = start("killed", *options)
        deadline = time.monotonic() + 300
        while name and not there(folder, name) - before:
            assert process.poll() is None, f"the run ended before there was a {name}: it has to be longer"
            assert time.monotonic() < deadline, f"no {name}"
            time.sleep(0.002)
        time.sleep(delay)
        assert process.poll() is None, f"the run ended within {delay} s of {name or 'its start'}: it has to be longer"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        recorded, saved = updates_known(workdir)
        killed_after.append(saved)
        done_again.append(max(0, recorded - saved))
    assert len(killed_after) == 8
    finish(*start("killed", *options))

    assert_same_to_the_bit(workdir, straight, 5 * EPOCHS)
    (teacher,) = folder.glob("teacher-*")
    assert history(teacher) == history(tmp_path / "straight" / teacher.name)
    places = [(line["step"], line["split"]) for line in history(workdir)]
    assert len(places) == len(set(places)) == 2 * EPOCHS
    assert names_left(workdir) == names_left(straight)
    assert names_left(teacher) == names_left(tmp_path / "straight" / teacher.name)
    assert {path.name.partition(".")[0] for path in (workdir / "events").iterdir()} == {"events"}
    log = (folder / "killed.log").read_text()
    for word in ("Traceback", "damaged", "not a JSON object"):
        assert word not in log
    figures = (
        f"killed {len(killed_after)} times, with checkpoints of the updates {killed_after}; of what was on record at "
        f"most {max(done_again)} updates were done again; lost in the end: 0 of {5 * EPOCHS} updates, 0 lines"
    )
    record_property("kills", figures)
    print(figures)


# Configurations

HUGE = ["2147483647", "2147483648", "9223372036854775808", "1" + "0" * 30, "1" + "0" * 5000]
NASTY = {
    int: ["-2147483649", "-1", "-0", "0", "1", "2", "3", "7", "1000", "1000000", "0x10", "1_000", *HUGE],
    float: [
        *("-1e308", "-1", "-0.5", "-0.0", "0", "1e-320", "1e-30", "0.5", "0.999999999", "1", "1e30", "1e308"),
        *("1e400", "nan", "inf", "-inf"),
    ],
    str: [
        *("", " ", ".", "/", "../a", "a/b/c", "'", "{}%s", "None", "unknown", "x" * 300, "x" * 5000),
        *("a\0b", "a\nb", "ä漢字🦊", "\ud800", "digits", "resnet8", "rdd", "--config.epochs=1"),
    ],
    tuple: [
        *("()", "(0.5,)", "(0.9, 0.1)", "(1, 2, 3)", "(nan,)", "(1e-300,)", "(0.5, 'x')", "((0.5,),)", "[0.5]", "{}"),
        *("(", "0.5", "__import__('os')", "(0.5, " * 300),
    ],
    bool: ["True", "False", "yes", "2", "None"],
}
DEFAULTS = dict(io.flatten(presets.get_config().to_dict()))


class Mutations:
    """Draws command lines with 1 to 3 keys set to unusual values; no key comes first twice before all have."""

    def __init__(self, seed):
        self._generator = random.Random(seed)
        self._waiting = []

    def draw(self):
        """-> the file and preset, and the keys with their values."""
        generator = self._generator
        if not self._waiting:
            self._waiting = generator.sample(sorted(DEFAULTS), len(DEFAULTS))
        keys = [self._waiting.pop(), *generator.sample(sorted(DEFAULTS), generator.choice([0, 0, 1, 2]))]
        # An option counts where its method is on.
        group, *rest = keys[0].split(".")
        method = rest[0] if group == "distill" else generator.choice(sorted(methods.METHODS))
        preset = generator.choice(["", "", *presets.PRESETS])
        return f"--config={CONFIGS / method}.py:{preset}", {key: self._value(key) for key in keys}

    def _value(self, key):
        generator, kind = self._generator, type(DEFAULTS[key])
        return generator.choice(NASTY[kind if generator.random() < 0.8 else generator.choice(list(NASTY))])


def options_of(values):
    return [f"--config.{key}={value}" for key, value in values.items()]


@pytest.fixture
def bounded_memory():
    """What asks for absurdly much memory shall fail and not bring the machine down."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + 8 * 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-data"))
    monkeypatch.setenv("RDD_JAX_CACHE", str(tmp_path / "no-cache"))


def outcome(capsys, arguments):
    """The exit code; for 2 there must be one line that begins as it should."""
    told = repr([argument[:100] for argument in arguments])
    code = main.main(["main", *arguments])
    out, err = capsys.readouterr()
    assert code in (0, 2), told
    assert "Traceback" not in out + err, told
    if code == 2:
        assert err.splitlines()[-1].startswith("rdd_jax: "), f"{told}: {err}"
        assert len(err.split("rdd_jax: ")) == 2, f"{told}: {err}"
    return code, err


@pytest.mark.usefixtures("_empty_folder", "bounded_memory")
def test_of_60_random_invalid_configurations_each_is_refused_in_a_line_or_accepted(
    tmp_path, monkeypatch, capsys, record_property
):
    def check_alone(config, workdir):
        config_checks.check(config, workdir)
        for place in (workdir, *(place for _, place in naming.required_runs(config, workdir))):
            os.stat(place.parent) if place.parent.exists() else os.fsencode(place)  # It can be made.
        return {"student": {"name": "", "accuracy": 0.0, "best_accuracy": 0.0}, "teacher": None}

    monkeypatch.setattr(program, "train", check_alone)
    mutations, mutated, codes, seconds = Mutations(0), set(), [], []
    for _ in range(60):
        chosen, values = mutations.draw()
        mutated |= values.keys()
        started = time.monotonic()
        code, err = outcome(capsys, [chosen, *options_of(values)])
        seconds.append(time.monotonic() - started)
        assert len(err.splitlines()) == (1 if code == 2 else 0), values
        assert not list(tmp_path.iterdir()), values
        codes.append(code)
    assert len(mutated) > len(DEFAULTS) / 2
    # Neither is all of it refused out of hand, nor anything taken.
    assert 3 <= codes.count(0) < 45
    figures = (
        f"{len(codes)} configurations over {len(mutated)} keys: {codes.count(2)} refused, {codes.count(0)} accepted, "
        f"0 tracebacks, 0 files written; {max(seconds):.1f} s the longest"
    )
    record_property("configurations", figures)
    with capsys.disabled():
        print(f"\n{figures}")


SMALL = {
    "dataset": "digits",
    "student.name": "resnet8",
    "teacher.name": "resnet8",
    "epochs": 1,
    "teacher.epochs": 1,
    "mining.start_epoch": 0,
    "batch_size": 256,
}


@pytest.mark.usefixtures("_empty_folder", "bounded_memory")
def test_of_what_is_accepted_four_runs_train_or_tell_in_a_line_why_not(tmp_path, monkeypatch, capsys, record_property):
    mutations, codes = Mutations(1), []
    real, train = main.train, []
    monkeypatch.setattr(program, "train", lambda *arguments: train[0](*arguments))

    def check_alone(config, workdir):
        config_checks.check(config, workdir)
        return {"student": {"name": "", "accuracy": 0.0, "best_accuracy": 0.0}, "teacher": None}

    while len(codes) < 4:
        chosen, values = mutations.draw()
        chosen = f"{chosen.rpartition(':')[0]}:digits"
        values = {key: value for key, value in values.items() if key not in SMALL}
        arguments = [chosen, *options_of(values | SMALL), f"--workdir=run{len(codes)}"]
        train[:] = [check_alone]
        if not values or outcome(capsys, arguments)[0] != 0:
            continue
        train[:] = [real]
        code, err = outcome(capsys, arguments)
        codes.append(code)
        finished = records.is_finished(tmp_path / f"run{len(codes) - 1}")
        assert finished == (code == 0), f"{values}: {err}"
    assert codes.count(0) >= 2
    figures = f"{len(codes)} accepted runs: {codes.count(0)} trained to their end, {codes.count(2)} told why not"
    record_property("trained", figures)
    with capsys.disabled():
        print(f"\n{figures}")
