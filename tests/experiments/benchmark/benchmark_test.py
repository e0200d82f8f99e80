"""The benchmark: its tables on made-up times, its workloads on the digits, and its command line."""

import json
import sys
import types
from functools import partial

import jax
import numpy as np
import pytest

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import timing, train_step, workloads
from rdd_jax import models
from rdd_jax.core import devices


def test_candidates_take_turns_after_a_first_time():
    order, candidates = [], [("a", "torch"), ("a", "jax"), ("b", "jax")]
    rows = timing.seconds({work: lambda work=work: order.append(work) for work in candidates}, rounds=2)
    assert order == candidates * 3
    assert [(row["work"], set(row["seconds"])) for row in rows] == [("a", {"torch", "jax"}), ("b", {"jax"})]
    figures = rows[0]["seconds"]["jax"]
    assert figures.keys() == {"first", "median", "least"}
    assert figures["least"] <= figures["median"]


def test_table():
    rows = [
        {"work": "a", "seconds": {"jax": {"first": 5.0, "median": 2.0}, "torch": {"first": 4.0, "median": 3.0}}},
        {"work": "b", "seconds": {"jax": {"first": 0.5, "median": 1.0}}},
    ]
    assert benchmark.table(rows).splitlines()[2:] == ["| a | 2.00 | 3.0 | 3.00 | 1.50 |", "| b | 1.00 | 0.0 |  |  |"]


def test_seconds_of_a_call_are_divided_by_its_updates(monkeypatch):
    taken = {"jax": {"first": 10.0, "median": 4.0, "least": 2.0}, "torch": {"first": 9.0, "median": 8.0, "least": 8.0}}
    monkeypatch.setattr(timing, "seconds", lambda *_: [{"work": "a", "seconds": taken}])
    step = types.SimpleNamespace(multiply_adds=10)
    rows = train_step.measure({("a", "jax"): step}, rounds=2, steps=4, batch_size=8)
    assert rows[0]["seconds"]["jax"] == {"first": 7.0, "median": 1.0, "least": 0.5}
    assert rows[0]["flops"] == 20 / jax.local_device_count()
    assert train_step.table(rows).splitlines()[2] == "| a | 1000.00 | 6.0 | 8.0 | 2000.00 | 2.00 |"
    shares = train_step.table(rows, peak=25e-12 * 4 / jax.local_device_count()).splitlines()[2]
    assert shares.endswith("| 20.0% | 10.0% |")


@pytest.mark.parametrize(("method", "teaches"), [("teacher", False), ("kd", True)])
def test_a_step_counts_what_its_networks_compute(method, teaches, monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda function: partial(jax.eval_shape, function))  # Nothing is run.
    monkeypatch.setattr(devices, "replicate", lambda tree: tree)
    small, large = (
        models.count_multiply_adds(network, models.variable_shapes(network, (8, 8, 1)), (8, 8, 1))
        for network in (models.create("resnet8", 10), models.create("resnet20", 10))
    )
    step = workloads.train_step(method, preset="digits", batch_size=16)
    assert step.multiply_adds == 16 * (3 * (large if method == "teacher" else small) + teaches * large)


def test_a_mining_is_timed_and_kept(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.json"
    command = f"benchmark mine --sizes=64 --dim=4 --pool_size=8 --rounds=1 --save={path}"
    monkeypatch.setattr(sys, "argv", command.split())
    benchmark.main()
    kept = json.loads(path.read_text())
    works = ["mine 64 x 4, pool 8", "mine 64 x 4, pool 8, teacher ranked before"]
    assert [row["work"] for row in kept["rows"]] == works
    assert kept["rows"][0]["seconds"]["jax"]["median"] > 0
    assert capsys.readouterr().out.strip() == benchmark.table(kept["rows"])


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_a_step_is_an_update_and_can_be_taken_again(steps_per_call):
    """The state is donated: the second call must not need the first one's."""
    work = workloads.train_step("kd", preset="digits", batch_size=16, steps_per_call=steps_per_call)
    (first, start), (second, end) = work(), work()
    assert (first, second) == (steps_per_call, 2 * steps_per_call)
    assert np.isfinite([start["loss"], end["loss"]]).all()
    assert start["loss"] != end["loss"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("step --methods=kdd", 'unknown method "kdd"'),
        ("step --methods=kd --against=torch", "pip install torch"),
        ("step --batch_size=62", "--batch_size must be a multiple of the 4 devices; got 62"),
        ("step --rounds=0", "--rounds must be at least 1"),
        ("mine --sizes=50,many", '--sizes takes whole numbers above 0 with commas between them; got "50,many"'),
        ("mine --sizes=5000,100", "--pool_size must be in [1, 99]"),
    ],
)
def test_mistakes_are_refused_before_anything_is_timed(monkeypatch, capsys, arguments, words):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "experiments.benchmark.torch_workloads", raising=False)
    monkeypatch.setattr(timing, "seconds", lambda *_: pytest.fail("something was timed"))
    monkeypatch.setattr(workloads, "train_step", lambda *_, **__: lambda: None)
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments.split()])
    with pytest.raises(SystemExit) as exit_code:
        benchmark.main()
    assert exit_code.value.code == 2
    assert words in capsys.readouterr().err
