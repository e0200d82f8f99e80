"""The benchmark's commands: a short mining, and mistakes that are refused before anything is timed."""

import json
import sys

import pytest

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import mining, timing, workloads


def test_times_are_printed_and_saved(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mining.json"
    command = f"benchmark mining --sizes=64 --dim=4 --pool_size=8 --rounds=1 --save={path}"
    monkeypatch.setattr(sys, "argv", command.split())
    benchmark.main()
    rows = json.loads(path.read_text())["rows"]
    works = ["mining 64 x 4, pool 8", "mining 64 x 4, pool 8, teacher already ranked"]
    assert [row["work"] for row in rows] == works
    assert rows[0]["seconds"]["jax"]["median"] > 0
    assert capsys.readouterr().out.strip() == mining.table(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("step --methods=kdd", 'unknown method "kdd"'),
        ("mining --against=torch", "pip install torch"),
        ("step --batch_size=62", "--batch_size must be a multiple of the 4 devices; got 62"),
        ("step --rounds=0", "--rounds must be at least 1"),
        ("mining --sizes=50,many", '--sizes takes whole numbers above 0 with commas between them; got "50,many"'),
        ("mining --sizes=5000,100", "--pool_size must be in [1, 99]"),
    ],
)
def test_mistakes_are_refused_before_anything_is_timed(monkeypatch, capsys, arguments, message):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "experiments.benchmark.torch_workloads", raising=False)
    monkeypatch.setattr(timing, "measure", lambda *_: pytest.fail("something was timed"))
    monkeypatch.setattr(workloads, "train_step", lambda *_, **__: lambda: None)
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments.split()])
    with pytest.raises(SystemExit) as exit_code:
        benchmark.main()
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err
