"""The times of the benchmark and its tables, on made-up times."""

import types

import jax
import pytest

from experiments.benchmark import mining, timing, train_step
from experiments.benchmark.timing import Work


def test_candidates_take_turns_after_a_first_round():
    order, candidates = [], [Work("a", "torch"), Work("a", "jax"), Work("b", "jax")]
    rows = timing.measure({work: lambda work=work: order.append(work) for work in candidates}, rounds=2)
    assert order == candidates * 3
    assert [(row["work"], set(row["seconds"])) for row in rows] == [("a", {"torch", "jax"}), ("b", {"jax"})]
    seconds = rows[0]["seconds"]["jax"]
    assert 0 < seconds["least"] <= seconds["median"]


def test_the_ratio_is_pytorch_s_median_over_jax_s():
    rows = [
        {"work": "a", "seconds": {"jax": {"first": 5.0, "median": 2.0}, "torch": {"first": 4.0, "median": 3.0}}},
        {"work": "b", "seconds": {"jax": {"first": 0.5, "median": 1.0}}},
    ]
    assert mining.table(rows).splitlines()[2:] == ["| a | 2.00 | 3.0 | 3.00 | 1.50 |", "| b | 1.00 | 0.0 |  |  |"]


def test_the_seconds_of_a_call_are_divided_by_its_steps(monkeypatch):
    seconds = {
        "jax": {"first": 10.0, "median": 4.0, "least": 2.0},
        "torch": {"first": 9.0, "median": 8.0, "least": 8.0},
    }
    monkeypatch.setattr(timing, "measure", lambda *_: [{"work": "a", "seconds": seconds}])
    candidates = {Work("a", "jax"): types.SimpleNamespace(multiply_adds=10)}
    rows = train_step.measure(candidates, rounds=2, steps=4, batch_size=8)
    assert rows[0]["seconds"]["jax"] == {"first": 7.0, "median": 1.0, "least": 0.5}
    assert rows[0]["flops"] == pytest.approx(20 / jax.local_device_count())
    assert train_step.table(rows).splitlines()[2] == "| a | 1000.00 | 6.0 | 8.0 | 2000.00 | 2.00 |"
    shares = train_step.table(rows, peak=25e-12 * 4 / jax.local_device_count()).splitlines()[2]
    assert shares.endswith("| 20.0% | 10.0% |")
