"""The format of results.json: a JSON object with one run per line, so that a diff names the runs it changes."""

import json
from typing import Any


def dumps(results: dict[str, Any]) -> str:
    """Formats a comparison's results as JSON.

    Args:
        results: a dict with a list of runs under "runs".

    Returns:
        The text of the object: each run stands on a line of its own, after one line for all other keys.
    """
    others = json.dumps({key: value for key, value in results.items() if key != "runs"})
    runs = ",\n".join(json.dumps(run) for run in results["runs"])
    return f'{others.removesuffix("}")}, "runs": [\n{runs}\n]}}\n'
