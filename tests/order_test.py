"""The order of the rooms (DESIGN: arrows point down only), from the imports in the source."""

import ast
from pathlib import Path

import pytest
from program import ROOT

PACKAGE = ROOT / "rdd_jax"
# From the top to the bottom. Rooms on one floor do not import each other, but for those of `SIDEWAYS`.
FLOORS = (
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
SIDEWAYS = {("memory", "losses")}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports anything of, at its top or inside a function."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = (module.split(".") for module in modules)
    return {names[1] for names in parts if names[0] == "rdd_jax" and len(names) > 1 and names[1] in FLOOR}


def test_every_file_is_in_a_room():
    assert {room_of(path) for path in FILES} == FLOOR.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_one_above_it(path):
    here = room_of(path)
    for room in imported_rooms(path) - {here}:
        assert FLOOR[room] > FLOOR[here] or (here, room) in SIDEWAYS, f"{here} imports {room}"


def test_nothing_imports_the_user_s_side():
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
