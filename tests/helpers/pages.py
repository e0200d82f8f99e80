"""The Markdown pages of the repository, and what tests read from them."""

import re
import textwrap

from program import ROOT

PAGES = {
    path: path.read_text() for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
}
README, CONTRIBUTING = PAGES[ROOT / "README.md"], PAGES[ROOT / "CONTRIBUTING.md"]


def page(name):
    """The text of docs/NAME.md."""
    return PAGES[ROOT / "docs" / f"{name}.md"]


def section(text, heading):
    """The part of a page under a heading of the second level."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL).group(1)


def python_blocks(text):
    """The fenced Python code of a page, dedented."""
    return [textwrap.dedent(code) for code in re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)]


def table(text, first_header, columns=None):
    """The rows of the first table whose first column has that header, each a list of cells.

    Args:
        text: of the page.
        first_header: of the table's first column.
        columns: at least so many columns; tables with fewer are passed over.
    """
    pattern = rf"^(\| {first_header} \|.*)\n\|[- |]+\n((?:\|.*\n)+)"
    for header, rows in re.findall(pattern, text, re.MULTILINE):
        if header.count("|") > (columns or 0):
            return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows.splitlines()]
    raise AssertionError(f"no table of {first_header}")


def commands(text):
    """The commands `python -m ...` of a page, lines joined and comments removed."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = re.findall(r"^ +(?:[A-Z_]+=\S+ )?(python -m .*)$", joined, re.MULTILINE)
    return [re.split(r"\s{2,}#", line)[0].strip() for line in found]
