"""The format of results.json."""

import json

import pytest

from experiments.compare import results_json


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_run_stands_on_a_line_of_its_own(count):
    runs = [{"label": f"run {number}", "summary": {"accuracy": [1.5, None]}} for number in range(count)]
    results = {"command": 'python -m "x"', "seeds": [0, 1], "runs": runs}
    text = results_json.dumps(results)
    assert json.loads(text) == results
    assert [json.loads(line.rstrip(",")) for line in text.splitlines()[1:-1] if line] == runs
