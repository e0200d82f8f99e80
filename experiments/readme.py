"""README's tables of results, from the results that are kept: `python -m experiments.readme` renews them in place.

A table stands between <!-- FILE.json PART --> and <!-- end -->, where PART is accuracy, conditions, cost or verdicts of
a comparison's results, or staleness.
"""

import json
import re
from pathlib import Path

from experiments import staleness
from experiments.compare import notes, report

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"(<!-- (\S+\.json) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS = {
    "accuracy": report.accuracy_table,
    "conditions": notes.conditions,
    "cost": report.cost_table,
    "verdicts": lambda results: "\n".join(f"- {sentence}" for sentence in report.verdicts(results)),
    "staleness": staleness.table,
}


def renewed(text: str) -> str:
    """The text with every block as the results have it now."""

    def fill(block: re.Match) -> str:
        start, path, part, end = block.groups()
        results = json.loads((ROOT / path).read_text())
        return f"{start}\n{_PARTS[part](results)}\n\n{end}"

    return _BLOCK.sub(fill, text)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(renewed(path.read_text()))
