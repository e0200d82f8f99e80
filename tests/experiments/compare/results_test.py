"""The format of results.json."""

import json

from comparisons import COMPLETE

from experiments.compare import results


def test_each_run_stands_on_a_line_of_its_own():
    text = results.dumps(COMPLETE)
    assert json.loads(text) == COMPLETE
    assert [json.loads(line.rstrip(",")) for line in text.splitlines()[1:-1]] == COMPLETE["runs"]
    assert json.loads(results.dumps(COMPLETE | {"runs": []}))["runs"] == []
