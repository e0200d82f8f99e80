"""The import layers of the package: a module imports from lower layers only. CONTRIBUTING.md draws them."""

import ast
from pathlib import Path

import pytest
from program import ROOT

PACKAGE = ROOT / "rdd_jax"
# From the top to the bottom. Parts of one layer do not import each other, except those of `WITHIN_LAYER`.
LAYERS = (
    ("main",),
    ("cli",),
    ("training",),
    ("analysis",),
    ("runs",),
    ("steps",),
    ("methods",),
    ("losses", "rdx", "memory", "models", "data"),
    ("core",),
)
WITHIN_LAYER = {("memory", "losses")}
LAYER_OF = {part: layer for layer, parts in enumerate(LAYERS) for part in parts}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """The parts that a file imports anything of, at its top or inside a function."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = (module.split(".") for module in modules)
    return {names[1] for names in parts if names[0] == "rdd_jax" and len(names) > 1 and names[1] in LAYER_OF}


def test_every_file_is_in_a_layer():
    assert {part_of(path) for path in FILES} == LAYER_OF.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_part_imports_a_higher_layer(path):
    here = part_of(path)
    for part in imported_parts(path) - {here}:
        assert LAYER_OF[part] > LAYER_OF[here] or (here, part) in WITHIN_LAYER, f"{here} imports {part}"


def test_the_package_imports_no_configs_experiments_or_tests():
    for path in FILES:
        names = {name.split(".")[0] for name in _imported_names(path)}
        assert not names & {"configs", "experiments", "tests"}, path


def _imported_names(path: Path) -> list[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    return [
        name
        for node in nodes
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    ]
